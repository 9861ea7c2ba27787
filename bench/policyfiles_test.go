package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// What the buses are started with has to permit what is measured, and to be as long as it is said to be.
func TestPolicyFilesPermitTheBenchmark(t *testing.T) {
	s := server{dir: t.TempDir(), socket: "/nowhere"}
	config, err := s.writeConfig(300)
	if err != nil {
		t.Fatal(err)
	}
	c, err := busconfig.Options{}.Parse(config)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Policy.Rules()); n < 5000 {
		t.Errorf("there are %d rules", n)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "system.d", "*"))
	if err != nil || len(files) != 300 {
		t.Errorf("%d files, %v", len(files), err)
	}
	view := c.Policy.For(uint32(os.Getuid())+1, nil, false)
	for _, name := range []string{serviceName, "org.example.Other"} {
		m := busconfig.Message{
			Type: wire.TypeMethodCall, Path: servicePath, Interface: serviceInterface, Member: "Call",
			Destination: busconfig.NewNames(name),
		}
		if view.MaySend(&m).Allowed != (name == serviceName) {
			t.Errorf("a call of %s: %v", name, view.MaySend(&m))
		}
	}
	if !c.Policy.For(uint32(os.Getuid()), nil, false).MayOwn(serviceName).Allowed {
		t.Error("nobody may own the name of the service")
	}
}
