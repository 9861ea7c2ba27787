package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// Custom endpoints, made by frames as any client can send them: kdbus.endpoint(7).

// rawClient connects to the native protocol of a socket, without HELLO.
func rawClient(t *testing.T, path string) *nativetest.Client {
	t.Helper()
	c, err := nativetest.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// makeNode makes something and returns where it is.
func makeNode(t *testing.T, c *nativetest.Client, cmd abi.Command) string {
	t.Helper()
	f, err := c.Do(cmd)
	if err != nil {
		t.Fatal(err)
	}
	_, items, err := abi.CutStruct(f.Body, "answer")
	if err != nil {
		t.Fatal(err)
	}
	path, err := abi.DecodePath(items)
	if err != nil || path == "" {
		t.Fatalf("the path is %q, %v", path, err)
	}
	return path
}

// ownNode returns the name of something that this user makes.
func ownNode(name string) string { return fmt.Sprintf("%d-%s", os.Getuid(), name) }

// everybody is one entry, for all.
func everybody(access abi.PolicyType) []abi.PolicyAccess {
	return []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: access}}
}

func TestClientsOfACustomEndpointSeeWhatItLetsThrough(t *testing.T) {
	addr, path := startBus(t, daemon.Config{})
	maker := rawClient(t, path)
	door := makeNode(t, maker, &abi.EndpointMake{Name: ownNode("door"), Policies: []abi.Policy{
		{Name: "com.example.Seen", Access: everybody(abi.PolicySee)},
	}})
	if filepath.Base(door) != ownNode("door") {
		t.Errorf("the endpoint is at %s", door)
	}
	service := worlds[1].dial(t, addr)
	for _, name := range []string{"com.example.Seen", "com.example.Hidden"} {
		if _, err := service.RequestName(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
	}
	var clients []*kdbus.Conn
	for _, w := range worlds {
		confined := w.dial(t, "unix:path="+door)
		names, err := confined.ListNames(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if n == "com.example.Hidden" {
				t.Errorf("%s: the hidden name is listed", w.name)
			}
		}
		if _, err := confined.RequestName(t.Context(), "com.example.Mine", 0); err == nil {
			t.Errorf("%s: it can own a name", w.name)
		}
		clients = append(clients, confined)
	}
	maker.Close()
	for _, c := range clients {
		<-c.Done()
	}
	if _, err := nativetest.Dial(door); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("after its maker left: %v", err)
	}
}
