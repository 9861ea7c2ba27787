package kdbus_test

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
)

// startDomain starts a daemon that serves a domain alone, and returns its directory.
func startDomain(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "domain")
	d, err := daemon.Start(daemon.Config{Domain: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Shutdown() })
	return dir
}

func makeBus(t *testing.T, config kdbus.BusConfig) *kdbus.Bus {
	t.Helper()
	b := must(kdbus.MakeBus(testContext(t), config))(t)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestABusThatWasMadeIsOne(t *testing.T) {
	domain := startDomain(t)
	b := makeBus(t, kdbus.BusConfig{Domain: domain, Name: ownName("mine"), Access: abi.MakeAccessGroup, Tells: abi.AttachPIDs})
	if want := filepath.Join(domain, ownName("mine")); b.Path() != want {
		t.Errorf("it is at %s, want %s", b.Path(), want)
	}
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		client, service := dialWith(t, &dialer, b.Address()), dial(t, b.Address())
		if err := service.Export(echoPath, echoIface, bytesEcho{}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Object(service.Name(), echoPath).Call(testContext(t), echoIface+".Say", []byte("x")); err != nil {
			t.Errorf("a call: %v", err)
		}
	}
	info := must(dial(t, b.Address()).BusInfo(testContext(t), abi.AttachAll))(t)
	if info.BusName != ownName("mine") || abi.MakeFlags(info.Flags) != abi.MakeAccessGroup ||
		info.Metadata.Has != abi.AttachPIDs || info.Metadata.PIDs.PID != uint64(os.Getpid()) {
		t.Errorf("the bus says of itself %+v", info)
	}
}

func TestABusGoesWithItsMaker(t *testing.T) {
	domain := startDomain(t)
	b := makeBus(t, kdbus.BusConfig{Domain: domain, Name: ownName("mine")})
	other := makeBus(t, kdbus.BusConfig{Domain: domain, Name: ownName("other")})
	c, stays := dial(t, b.Address()), dial(t, other.Address())
	e := makeEndpoint(t, b.Address())
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	receive(t, ended(c.Done()))
	receive(t, ended(e.Done()))
	if _, err := stays.ListNames(testContext(t)); err != nil {
		t.Errorf("another bus: %v", err)
	}
	for { // the daemon may take a moment
		again, err := kdbus.MakeBus(testContext(t), kdbus.BusConfig{Domain: domain, Name: ownName("mine")})
		if err == nil {
			again.Close()
			break
		}
		if !errors.Is(err, syscall.EEXIST) {
			t.Fatal(err)
		}
	}
}

func TestBusesThatCannotBeMade(t *testing.T) {
	domain := startDomain(t)
	makeBus(t, kdbus.BusConfig{Domain: domain, Name: ownName("taken")})
	for _, test := range []struct {
		what   string
		config kdbus.BusConfig
		want   error
	}{
		{"without a user", kdbus.BusConfig{Name: "x"}, syscall.EINVAL},
		{"of another user", kdbus.BusConfig{Name: "4711-x"}, syscall.EINVAL},
		{"with a name that is taken", kdbus.BusConfig{Name: ownName("taken")}, syscall.EEXIST},
		{"with filters that cannot be", kdbus.BusConfig{Name: ownName("x"), Bloom: abi.BloomParameter{Size: 7, NHash: 1}}, syscall.EINVAL},
		{"where no domain is", kdbus.BusConfig{Domain: domain + "x", Name: ownName("x")}, os.ErrNotExist},
	} {
		if test.config.Domain == "" {
			test.config.Domain = domain
		}
		if _, err := kdbus.MakeBus(testContext(t), test.config); !errors.Is(err, test.want) {
			t.Errorf("one %s: %v, want %v", test.what, err, test.want)
		}
	}
	t.Run("too many", func(t *testing.T) {
		var err error
		for i := 0; err == nil && i <= abi.UserMaxBuses; i++ {
			var b *kdbus.Bus
			if b, err = kdbus.MakeBus(testContext(t), kdbus.BusConfig{Domain: domain, Name: ownName(fmt.Sprint("b", i))}); err == nil {
				defer b.Close()
			}
		}
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("one too many: %v", err)
		}
	})
}

func TestWhatABusRequiresIsToldOrNobodyJoins(t *testing.T) {
	b := makeBus(t, kdbus.BusConfig{Domain: startDomain(t), Name: ownName("curious"), Required: abi.AttachCreds})
	dial(t, b.Address()) // this library lets everything be known
}

func TestTheDomainOfAUserIsInTheRuntimeDirectory(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	want := "/run/user/1000/kdbus"
	if os.Geteuid() == 0 {
		want = "/run/kdbus"
	}
	if got := must(kdbus.DefaultDomain())(t); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
