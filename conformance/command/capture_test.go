//go:build conformance

package command

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
	"github.com/kdbus-go/kdbus/wire"
)

// packets reads the messages in a pcapng file of one section, up to the last whole block.
func packets(t *testing.T, file []byte) (list []string) {
	t.Helper()
	order := binary.LittleEndian
	for len(file) >= 12 {
		kind, length := order.Uint32(file), order.Uint32(file[4:])
		if length < 12 || int(length) > len(file) || order.Uint32(file[length-4:]) != length {
			break
		}
		body := file[8 : length-4]
		file = file[length:]
		switch kind {
		case 1:
			if link := order.Uint16(body); link != 231 {
				t.Errorf("link type %d", link)
			}
		case 6:
			m, err := wire.ParseMessage(body[20:][:order.Uint32(body[12:])])
			if err != nil {
				t.Fatal(err)
			}
			values, err := m.Values()
			list = append(list, fmt.Sprintf("%v %s>%s %s %s.%s %s %d/%d %v %v", m.Type, m.Sender, m.Destination, m.Path, m.Interface, m.Member,
				m.ErrorName, m.Serial, m.ReplySerial, values, err))
		}
	}
	return list
}

func TestCaptureIsBusctls(t *testing.T) {
	onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
		startPlayer(t, bus)
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "busctl.pcapng"), filepath.Join(dir, "kdbus.pcapng")}
		var watchers []*watcher
		for _, command := range []string{"busctl", kdbusCommand} {
			watchers = append(watchers, watch(t, bus, command, "--user", "capture", "com.example.Player"))
		}
		converse(t, bus)
		var files [][]byte
		for i, w := range watchers {
			files = append(files, []byte(w.until(t, "Enough")))
			if err := os.WriteFile(paths[i], files[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// What comes behind the last message may not be written yet.
		want, got := packets(t, files[0]), packets(t, files[1])
		n := min(len(want), len(got))
		if diff := cmp.Diff(want[:n], got[:n]); diff != "" || n < 13 {
			t.Errorf("%d messages; -busctl +kdbus\n%s", n, diff)
		}
		checkWithTshark(t, bus, paths[1], n)
	})
}

// checkWithTshark checks that tshark reads as many messages, finds nothing wrong with them and shows what
// they say and, on this bus, who sent them. It is 128 MB large and so not installed for this only; where
// it is, it is asked.
func checkWithTshark(t *testing.T, bus *testbus.Bus, path string, messages int) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("tshark is not installed")
		return
	}
	r := run(t, bus, tshark, "-r", path, "-T", "fields", "-E", "separator=|", "-e", "_ws.malformed", "-e", "_ws.expert.message",
		"-e", "dbus.member", "-e", "dbus.error_name", "-e", "frame.comment")
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if r.code != 0 || len(lines) < messages {
		t.Errorf("tshark ended with %d and printed %d lines of %d\n%s%s", r.code, len(lines), messages, r.stdout, r.stderr)
	}
	failed, echoed := false, false
	for _, line := range lines {
		fields := strings.SplitN(line, "|", 5)
		if len(fields) < 5 || fields[0] != "" {
			t.Errorf("tshark finds a message malformed: %s", line)
			continue
		}
		failed = failed || fields[3] == "com.example.Error.Bad"
		if fields[2] == "Echo" {
			echoed = true
			if told := strings.Contains(fields[4], "UniqueName=:1."); !told || bus.Kind == testbus.KDBus && !strings.Contains(fields[4], "CommandLine=") {
				t.Errorf("the comment of a call is %q", fields[4])
			}
		}
	}
	if !failed || !echoed {
		t.Errorf("tshark shows no call or no error:\n%s", r.stdout)
	}
}
