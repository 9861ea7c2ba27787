package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/pcapng"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/transcript"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
)

func newCaptureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "capture [flags] [SERVICE...] > FILE",
		Short: "Write the messages that cross a bus to a file for Wireshark",
		Long: `Writes the messages that cross a bus to standard output, in the format pcapng, which
Wireshark and tshark read, until Ctrl-C. Which messages is said as for kdbus monitor.

What the bus knows of a message's sender is the packet's comment. File descriptors are
not captured. The file ends with how many messages there were and how many were missed.`,
		Example: `  kdbus capture --user > bus.pcapng
  kdbus capture --user org.freedesktop.locale1 -N 100 > locale.pcapng; wireshark locale.pcapng`,
		ValidArgsFunction: completeServices,
	}
	options := addWatchFlags(cmd)
	size := byteSize(4096)
	cmd.Flags().Var(&size, "size", "keep no more than so many bytes of each message: 4096, 64K, 1M")
	cmd.RunE = func(cmd *cobra.Command, services []string) error {
		if tty.Is(cmd.OutOrStdout()) {
			return errors.New("a capture is nothing to read on a terminal; write it to a file: kdbus capture > FILE")
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		w, err := startWatch(ctx, options, services)
		if err != nil {
			return err
		}
		defer w.close()
		out := bufio.NewWriterSize(cmd.OutOrStdout(), 256<<10)
		addr, _ := options.bus.where()
		file, err := pcapng.NewWriter(out, uint32(size), addr, operatingSystem(), versionLine())
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "Capturing bus message stream.")
		var raw []byte
		captured := uint64(0)
		err = w.each(ctx, out, cmd.ErrOrStderr(), func(m *kdbus.Message) error {
			raw = m.Append(raw[:0])
			captured++
			comment := transcript.AppendSender(nil, m, w.conn.Native())
			return file.Message(sentAt(m), raw, strings.ReplaceAll(strings.TrimSpace(string(comment)), "\n  ", "\n"))
		})
		if err == nil {
			err = errors.Join(file.Close(time.Now(), captured, w.missed()), out.Flush())
		}
		if errors.Is(err, syscall.EPIPE) {
			return nil // whoever reads has seen enough
		}
		return err
	}
	return cmd
}

// byteSize is a number of bytes as a flag's value, as systemd's tools take it.
type byteSize uint32

// Set is pflag.Value's.
func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "BKMG")
	shift, ok := map[string]uint{"": 0, "B": 0, "K": 10, "M": 20, "G": 30}[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || n<<shift > math.MaxUint32 {
		return errors.New("write a number of bytes that is more than 0, such as 4096, 64K or 1M")
	}
	*b = byteSize(n << shift)
	return nil
}

// String is pflag.Value's.
func (b *byteSize) String() string { return strconv.FormatUint(uint64(*b), 10) }

// Type is pflag.Value's.
func (*byteSize) Type() string { return "BYTES" }

// sentAt returns when a message was sent or, if the bus does not tell, the time now.
func sentAt(m *kdbus.Message) time.Time {
	if known := m.Metadata(); known != nil && known.Has&abi.AttachTimestamp != 0 {
		return time.Unix(0, int64(known.Timestamp.RealtimeNS))
	}
	return time.Now()
}

// operatingSystem returns the name and release of the kernel.
func operatingSystem() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "Linux"
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}
