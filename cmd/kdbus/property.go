package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
	"github.com/kdbus-go/kdbus/wire"
)

const propertiesInterface = "org.freedesktop.DBus.Properties"

func newGetPropertyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get-property [flags] SERVICE OBJECT INTERFACE PROPERTY...",
		Short: "Print properties of an object",
		Long: `Prints the values of properties of an object, one a line, as they can be typed for
set-property; as trees with --verbose; or as JSON.`,
		Example: `  kdbus get-property --user org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus Features Interfaces`,
		Args:    operands, ValidArgsFunction: completeMember(kindProperty),
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	verbose := cmd.Flags().Bool("verbose", false, "print the values as trees")
	timeout := timeoutFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkTarget(args[0], args[1]); err != nil {
			return err
		}
		if err := wire.CheckInterface(args[2]); err != nil {
			return fmt.Errorf("%q is no interface: %w", args[2], err)
		}
		conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		object := conn.Object(args[0], kdbus.ObjectPath(args[1]))
		for _, property := range args[3:] {
			ctx, cancel := timeout.bound(cmd.Context())
			reply, err := object.Call(ctx, propertiesInterface+".Get", args[2], property)
			cancel()
			if err != nil {
				return fmt.Errorf("cannot get the property %s of %s: %w", property, args[2], late(err, *timeout))
			}
			if reply.Signature() != "v" {
				return fmt.Errorf("cannot get the property %s of %s: the answer has the signature %q", property, args[2], reply.Signature())
			}
			if err := printProperty(cmd.OutOrStdout(), reply, *verbose, *mode); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// late is plain, and says what to do if there was no answer in time.
func late(err error, timeout duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer within %v; --timeout gives it longer", timeout.effective())
	}
	return plain(err)
}

// printProperty prints what is in the variant that a message holds.
func printProperty(out io.Writer, m *kdbus.Message, verbose bool, mode jsontext.Mode) error {
	content := &variantContent{message: m}
	var text []byte
	var err error
	switch {
	case mode != jsontext.Off:
		var data []any
		if data, err = values.JSON(m); err == nil {
			text = jsontext.Append(nil, data[0], mode)
		}
	case verbose:
		text, err = values.AppendTree(nil, content, "")
	default:
		var line []byte
		if line, err = values.AppendTerse(nil, content); err == nil {
			text = fmt.Appendf(nil, "%s %s\n", content.signature, line)
		}
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err = out.Write(text)
	return err
}

// variantContent is what is in the variant that is the body of a message.
type variantContent struct {
	message   *kdbus.Message
	signature string // once it was walked over
	to        wire.Visitor
	depth     int
}

// Walk visits the content.
func (v *variantContent) Walk(visitor wire.Visitor) error {
	v.to, v.depth = visitor, 0
	return v.message.Walk(v)
}

// Basic is wire.Visitor's.
func (v *variantContent) Basic(b wire.Basic) error { return v.to.Basic(b) }

// Enter is wire.Visitor's.
func (v *variantContent) Enter(kind byte, contents string) error {
	if v.depth++; v.depth == 1 {
		v.signature = contents
		return nil
	}
	return v.to.Enter(kind, contents)
}

// Leave is wire.Visitor's.
func (v *variantContent) Leave(kind byte) error {
	if v.depth--; v.depth == 0 {
		return nil
	}
	return v.to.Leave(kind)
}

func newSetPropertyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set-property [flags] SERVICE OBJECT INTERFACE PROPERTY SIGNATURE VALUE...",
		Short: "Set a property of an object",
		Long: `Sets a property of an object. It answers only if that fails.

` + valueHelp,
		Example:           `  kdbus set-property --user com.example.Player /com/example/Player com.example.Player Volume d 0.5`,
		Args:              operands,
		ValidArgsFunction: completeMember(kindWritable),
	}
	bus := addBusFlags(cmd)
	timeout := timeoutFlag(cmd)
	var mayAsk boolean
	boolVar(cmd, &mayAsk, "allow-interactive-authorization", false, "let the service ask the user for permission")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(checkTarget(args[0], args[1]), checkMember(args[2], args[3])); err != nil {
			return err
		}
		body, err := values.ParseVariant(args[2:4], args[4], args[5:])
		if err != nil {
			return err
		}
		conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		object := conn.Object(args[0], kdbus.ObjectPath(args[1]))
		if mayAsk {
			object = object.With(kdbus.AllowInteractiveAuthorization)
		}
		ctx, cancel := timeout.bound(cmd.Context())
		defer cancel()
		if _, err := object.CallRaw(ctx, propertiesInterface+".Set", body); err != nil {
			return fmt.Errorf("cannot set the property %s of %s: %w", args[3], args[2], late(err, *timeout))
		}
		return nil
	}
	return cmd
}
