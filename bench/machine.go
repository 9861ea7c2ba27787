package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where a run took place.
type Machine struct {
	CPU    string `json:"cpu"`  // model
	CPUs   int    `json:"cpus"` // that we may use
	Kernel string `json:"kernel"`
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d CPUs, Linux %s", m.CPU, m.CPUs, m.Kernel)
}

func thisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, CPUs: runtime.NumCPU(), Kernel: "of unknown version"}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := cpuModel(info); model != "" {
			m.CPU = model
		}
	}
	return m
}

// cpuModel finds the model in the text of /proc/cpuinfo; not every architecture has it.
func cpuModel(info []byte) string {
	for line := range bytes.Lines(info) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// describe returns what is known of a bus before it is started, or an error if it
// cannot be.
func describe(kind string, kdbus []string) (Bus, error) {
	switch kind {
	case Kdbus:
		if len(kdbus) == 0 {
			return Bus{}, fmt.Errorf("there is no command to start %s with", Kdbus)
		}
		return Bus{Name: kind, Native: true}, nil
	case DBusDaemon, DBusBroker:
	default:
		return Bus{}, fmt.Errorf("unknown bus %q; there are %s, %s and %s", kind, Kdbus, DBusDaemon, DBusBroker)
	}
	program, err := findServer(kind)
	if err != nil {
		return Bus{}, err
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return Bus{}, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return Bus{Name: kind}, nil
	}
	return Bus{Name: kind, Version: words[len(words)-1]}, nil
}
