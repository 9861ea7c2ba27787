package kdbus_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/kdbustest"
)

// busProcess, in the environment, makes the test program a bus and nothing else.
const busProcess = "KDBUS_TEST_BUS_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(busProcess) != "" {
		var t exampleT
		fmt.Println(kdbustest.Start(&t).Address())
		io.Copy(io.Discard, os.Stdin) // until who started it is done or dead
		t.end()
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
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), busProcess+"=1")
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
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}
