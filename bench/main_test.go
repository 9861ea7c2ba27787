package bench

import (
	"os"
	"testing"
)

// workerCommand makes this test program be a worker.
var workerCommand = []string{Self, "worker"}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand[1] {
		os.Exit(Worker())
	}
	os.Exit(m.Run())
}
