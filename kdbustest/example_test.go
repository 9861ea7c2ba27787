package kdbustest_test

import (
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/kdbus-go/kdbus/kdbustest"
)

// Greeter is a service as a program would have it.
type Greeter struct{}

// Greet is its D-Bus method, of signature s -> s.
func (Greeter) Greet(name string) (string, *dbus.Error) { return "Hello, " + name + "!", nil }

// TestGreeter is how to test a service: it and a client on a bus of their own.
func TestGreeter(t *testing.T) {
	bus := kdbustest.Start(t)

	service, err := dbus.Connect(bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	if err := service.Export(Greeter{}, "/com/example/Greeter", "com.example.Greeter"); err != nil {
		t.Fatal(err)
	}
	if _, err := service.RequestName("com.example.Greeter", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}

	client, err := dbus.Connect(bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var greeting string
	err = client.Object("com.example.Greeter", "/com/example/Greeter").
		Call("com.example.Greeter.Greet", 0, "world").Store(&greeting)
	if err != nil {
		t.Fatal(err)
	}
	if greeting != "Hello, world!" {
		t.Errorf("Greet said %q", greeting)
	}
}
