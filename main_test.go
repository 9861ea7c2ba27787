package kdbus_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/kdbustest"
)

// In the environment, these make the test program something else and nothing more: a bus, a
// peer of the bus at the address given that answers another, or one that calls.
const (
	busProcess     = "KDBUS_TEST_BUS_PROCESS"
	serviceProcess = "KDBUS_TEST_SERVICE_PROCESS"
	servicePeer    = "KDBUS_TEST_SERVICE_PEER"
	callerProcess  = "KDBUS_TEST_CALLER_PROCESS"
	peerKind       = "KDBUS_TEST_PEER_KIND"
)

func TestMain(m *testing.M) {
	if os.Getenv(busProcess) != "" {
		var t exampleT
		fmt.Println(kdbustest.Start(&t).Address())
		io.Copy(io.Discard, os.Stdin) // until who started it is done or dead
		t.end()
		return
	}
	if address := os.Getenv(serviceProcess); address != "" {
		if err := runService(os.Getenv(peerKind), address, os.Getenv(servicePeer)); err != nil {
			log.Fatal(err)
		}
		return
	}
	if address := os.Getenv(callerProcess); address != "" {
		if err := runCaller(os.Getenv(peerKind), address); err != nil {
			log.Fatal(err)
		}
		return
	}
	code := m.Run()
	exampleEnd.end()
	os.Exit(code)
}

// startBusProcess starts a bus in a process of its own, for benchmarks: there it competes for
// processors as it does in life. It ends with the benchmark.
func startBusProcess(b *testing.B) (address string) {
	b.Helper()
	return startProcess(b, busProcess+"=1").line(b)
}

// process is this program once more, as something else.
type process struct {
	*os.Process
	in  io.WriteCloser
	out *bufio.Reader
}

// startProcess starts this program with more in the environment. At the end of the test its
// standard input ends, and it is waited for.
func startProcess(b testing.TB, env ...string) *process {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = b.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &process{cmd.Process, in, bufio.NewReader(out)}
}

// line returns the next line that the process prints.
func (p *process) line(b testing.TB) string {
	b.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}
