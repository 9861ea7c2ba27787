package values

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/wire"
)

// Parse makes the body of a message of what was typed: a signature and its values, one argument
// each, as busctl(1), "Parameter formatting", has them. Arrays begin with the number of their
// elements, variants with their signature. A UNIX_FD is a descriptor of this process, of which the
// body has a duplicate.
func Parse(signature string, args []string) (kdbus.Body, error) {
	if err := wire.CheckSignature(signature); err != nil {
		return kdbus.Body{}, fmt.Errorf("%q is no signature: %w", signature, err)
	}
	p := parser{args: args}
	p.encoder.Reset(wire.LittleEndian, nil)
	return p.body(signature, signature)
}

// body parses all arguments. What the signature is that was typed, is for an error.
func (p *parser) body(signature, typed string) (kdbus.Body, error) {
	err := p.sequence(signature, 0)
	if err == nil && len(p.args) > 0 {
		err = fmt.Errorf("too many values for the signature %q: %q is left over", typed, p.args[0])
	}
	var bytes []byte
	if err == nil {
		bytes, err = p.encoder.Body()
	}
	if err != nil {
		for _, f := range p.files {
			f.Close()
		}
		return kdbus.Body{}, err
	}
	return kdbus.Body{Signature: kdbus.Signature(signature), Bytes: bytes, Files: p.files}, nil
}

// ParseVariant is Parse of one value, in a variant behind what the strings before it are.
func ParseVariant(before []string, signature string, args []string) (kdbus.Body, error) {
	if err := wire.CheckSingleSignature(signature); err != nil {
		return kdbus.Body{}, fmt.Errorf("%q is not the signature of one value: %w", signature, err)
	}
	p := parser{args: slices.Concat(before, []string{signature}, args)}
	p.encoder.Reset(wire.LittleEndian, nil)
	return p.body(strings.Repeat("s", len(before))+"v", signature)
}

type parser struct {
	args    []string
	encoder wire.Encoder
	files   []*os.File
}

// next takes the next argument.
func (p *parser) next(what string) (string, error) {
	if len(p.args) == 0 {
		return "", fmt.Errorf("too few values for the signature: %s is missing", what)
	}
	arg := p.args[0]
	p.args = p.args[1:]
	return arg, nil
}

// sequence parses one value for each type in the signature.
func (p *parser) sequence(signature string, depth int) error {
	for len(signature) > 0 {
		n := typeLength(signature)
		if err := p.value(signature[:n], depth); err != nil {
			return err
		}
		signature = signature[n:]
	}
	return nil
}

// typeLength returns the length of the complete type that a valid signature begins with.
func typeLength(signature string) int {
	open := 0
	for i := range len(signature) {
		switch signature[i] {
		case 'a':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open == 0 {
			return i + 1
		}
	}
	return len(signature)
}

func (p *parser) value(sig string, depth int) error {
	if depth > wire.MaxDepth {
		return errors.New("the value is nested too deeply")
	}
	switch sig[0] {
	case '(', '{':
		p.encoder.AlignStruct()
		return p.sequence(sig[1:len(sig)-1], depth+1)
	case 'v':
		inner, err := p.next("the signature of a variant")
		if err != nil {
			return err
		}
		if err := wire.CheckSingleSignature(inner); err != nil {
			return fmt.Errorf("%q is no signature for a variant: %w", inner, err)
		}
		p.encoder.Variant(wire.Signature(inner))
		return p.value(inner, depth+1)
	case 'a':
		return p.array(sig[1:], depth)
	}
	arg, err := p.next("a value of type " + typeNames[sig[0]])
	if err != nil {
		return err
	}
	if err := p.basic(sig[0], arg); err != nil {
		return fmt.Errorf("%q is no %s: %w", arg, typeNames[sig[0]], err)
	}
	return nil
}

func (p *parser) array(element string, depth int) error {
	arg, err := p.next("the number of elements of an array")
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(arg, 0, 32)
	if err != nil {
		return fmt.Errorf("%q is not the number of elements of an array: %w", arg, reason(err))
	}
	array := p.encoder.OpenArray(element[0])
	for range n {
		if err := p.value(element, depth+1); err != nil {
			return err
		}
	}
	p.encoder.CloseArray(array)
	return nil
}

func (p *parser) basic(code byte, arg string) error {
	e := &p.encoder
	switch code {
	case 's':
		if !utf8.ValidString(arg) {
			return errors.New("it is not UTF-8")
		}
		e.String(arg)
	case 'o':
		if err := wire.CheckObjectPath(arg); err != nil {
			return err
		}
		e.ObjectPath(wire.ObjectPath(arg))
	case 'g':
		if err := wire.CheckSignature(arg); err != nil {
			return err
		}
		e.Signature(wire.Signature(arg))
	case 'b':
		v, err := ParseBool(arg)
		if err != nil {
			return err
		}
		e.Bool(v)
	case 'd':
		v, err := strconv.ParseFloat(number(arg), 64)
		if err != nil {
			return reason(err)
		}
		e.Double(v)
	case 'h':
		return p.file(arg)
	default:
		return p.integer(code, arg)
	}
	return nil
}

func (p *parser) integer(code byte, arg string) error {
	e := &p.encoder
	bits := map[byte]int{'y': 8, 'n': 16, 'q': 16, 'i': 32, 'u': 32, 'x': 64, 't': 64}[code]
	if code == 'n' || code == 'i' || code == 'x' {
		v, err := strconv.ParseInt(number(arg), 0, bits)
		if err != nil {
			return reason(err)
		}
		switch code {
		case 'n':
			e.Int16(int16(v))
		case 'i':
			e.Int32(int32(v))
		default:
			e.Int64(v)
		}
		return nil
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(number(arg), "+"), 0, bits)
	if err != nil {
		return reason(err)
	}
	switch code {
	case 'y':
		e.Byte(byte(v))
	case 'q':
		e.Uint16(uint16(v))
	case 'u':
		e.Uint32(uint32(v))
	default:
		e.Uint64(v)
	}
	return nil
}

// number returns what strconv makes of a number that C's functions take: blanks may come first, and
// no digits are grouped.
func number(arg string) string {
	if strings.Contains(arg, "_") {
		return ""
	}
	return strings.TrimLeft(arg, " \t\n\v\f\r")
}

// file takes a duplicate of a descriptor that whoever started this process has opened for it.
func (p *parser) file(arg string) error {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return reason(err)
	}
	fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return errors.New("that file descriptor is not open")
	}
	p.encoder.UnixFD(wire.UnixFD(len(p.files)))
	p.files = append(p.files, os.NewFile(uintptr(fd), "file descriptor "+arg))
	return nil
}

// ParseBool reads a truth value as systemd's tools do.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, errors.New("write yes or no")
}

// reason returns what strconv has against a number.
func reason(err error) error {
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		return e.Err
	}
	return err
}
