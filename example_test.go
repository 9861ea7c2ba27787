package kdbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// exampleT takes the place of the *testing.T that examples do not have. It ends with the test
// program.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                   {}
func (*exampleT) Failed() bool              { return false }
func (t *exampleT) Cleanup(f func())        { t.cleanups = append(t.cleanups, f) }
func (*exampleT) Fatalf(f string, a ...any) { log.Fatalf(f, a...) }

var exampleEnd exampleT

// end ends the buses of the examples.
func (t *exampleT) end() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		t.cleanups[last]()
		t.cleanups = t.cleanups[:last]
	}
}

// newExampleBus starts a bus for examples.
func newExampleBus() string { return kdbustest.Start(&exampleEnd).Address() }

// exampleBus is the bus on which the greeter is.
var exampleBus = sync.OnceValue(newExampleBus)

// startGreeter starts the service of Example_service for the other examples.
var startGreeter = sync.OnceFunc(func() {
	conn, err := kdbus.Dial(context.Background(), exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	greeter := &Greeter{}
	greeter.Greeting.Set("Hello")
	if err := conn.Export("/com/example/Greeter", "com.example.Greeter", greeter); err != nil {
		log.Fatal(err)
	}
	if _, err := conn.RequestName(context.Background(), "com.example.Greeter", 0); err != nil {
		log.Fatal(err)
	}
})

func exampleConn() *kdbus.Conn {
	startGreeter()
	conn, err := kdbus.Dial(context.Background(), exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// Properties have the type asked for.
func ExampleGet() {
	conn := exampleConn()
	defer conn.Close()
	ctx := context.Background()
	greeter := conn.Object("com.example.Greeter", "/com/example/Greeter")
	greeting, err := kdbus.Get[string](ctx, greeter, "com.example.Greeter.Greeting")
	fmt.Println(greeting, err)
	// Output: Hello <nil>
}

// Errors keep their D-Bus names on the way from the service to the client.
func ExampleError() {
	conn := exampleConn()
	defer conn.Close()
	ctx := context.Background()
	greeter := conn.Object("com.example.Greeter", "/com/example/Greeter")
	_, err := greeter.Call(ctx, "com.example.Greeter.Greet", "")
	var e *kdbus.Error
	if errors.As(err, &e) {
		fmt.Println(e.Name, "says:", e.Message)
	}
	_, err = conn.Object("com.example.Nobody", "/").Call(ctx, "com.example.Greeter.Greet", "you")
	fmt.Println(errors.Is(err, kdbus.ErrServiceUnknown))
	// Output:
	// com.example.Greeter.NoName says: whom shall I greet?
	// true
}

// A subscription is a channel of messages.
func ExampleConn_Subscribe() {
	conn := exampleConn()
	defer conn.Close()
	ctx := context.Background()
	greeted, err := conn.Subscribe(ctx, kdbus.Match{Interface: "com.example.Greeter", Member: "Greeted"}, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer greeted.Close()
	greeter := conn.Object("com.example.Greeter", "/com/example/Greeter")
	if err := greeter.Send(ctx, "com.example.Greeter.Greet", "subscriber"); err != nil {
		log.Fatal(err)
	}
	var name string
	if err := (<-greeted.Messages()).Decode(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(name)
	// Output: subscriber
}

// Guard is a service that asks who calls.
type Guard struct{}

// MayEnter answers as the bus, not the caller, says who it is.
func (Guard) MayEnter(call *kdbus.Message) (bool, error) {
	m := call.Metadata()
	if m == nil || m.Has&abi.AttachCreds == 0 {
		return false, kdbus.NewError(kdbus.ErrAccessDenied.Name, "who are you?")
	}
	return m.Creds.EUID == uint64(os.Geteuid()), nil
}

// On a native bus, every message can say who sent it.
func ExampleMessage_Metadata() {
	ctx := context.Background()
	dialer := kdbus.Dialer{Metadata: abi.AttachCreds}
	service, err := dialer.Dial(ctx, exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	if err := service.Export("/com/example/Guard", "com.example.Guard", Guard{}); err != nil {
		log.Fatal(err)
	}
	conn := exampleConn()
	defer conn.Close()
	guard := conn.Object(service.Name(), "/com/example/Guard")
	fmt.Println(kdbus.Call[bool](ctx, guard, "com.example.Guard.MayEnter"))
	// Output: true <nil>
}

// A service that is started when somebody calls it: until then, an activator keeps its messages.
func ExampleDialActivator() {
	ctx := context.Background()
	activator, err := kdbus.DialActivator(ctx, exampleBus(), "com.example.Lazy")
	if err != nil {
		log.Fatal(err)
	}
	defer activator.Close()

	client, err := kdbus.Dial(ctx, exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Object("com.example.Lazy", "/").Send(ctx, "com.example.Lazy.Work", "do it"); err != nil {
		log.Fatal(err)
	}

	<-activator.Waiting() // something has come: start the service
	service, err := kdbus.Dial(ctx, exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	done := make(chan string)
	if err := service.Export("/", "com.example.Lazy", lazy{done}); err != nil {
		log.Fatal(err)
	}
	if _, err := service.RequestName(ctx, "com.example.Lazy", 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-done)
	// Output: do it
}

type lazy struct{ done chan string }

func (l lazy) Work(what string) error {
	l.done <- what
	return nil
}

// A name that one user may own and everybody may talk to, for as long as the policy holder lasts.
func ExampleDialPolicyHolder() {
	ctx := context.Background()
	holder, err := kdbus.DialPolicyHolder(ctx, exampleBus(), kdbus.NamePolicy{
		Name: "com.example.Guarded",
		Access: []kdbus.Access{
			{Kind: kdbus.AccessUser, ID: 1000, Level: kdbus.AccessOwn},
			{Kind: kdbus.AccessWorld, Level: kdbus.AccessTalk},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer holder.Close()
	_, err = kdbus.DialPolicyHolder(ctx, exampleBus(), kdbus.NamePolicy{Name: "com.example.Guarded"})
	fmt.Println(errors.Is(err, syscall.EEXIST))
	// Output: true
}

// Urgent messages first.
func ExampleSubscription_Receive() {
	ctx := context.Background()
	conn, err := kdbus.Dial(ctx, exampleBus())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	signals, err := conn.Subscribe(ctx, kdbus.Match{Interface: "com.example.Alarm"}, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := conn.EmitPriority(ctx, "", "/", "com.example.Alarm.Fire", -10, "kitchen"); err != nil {
		log.Fatal(err)
	}
	m, err := signals.Receive(ctx, abi.RecvUsePriority, -1) // nothing less urgent than -1
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Member(), m.Priority())
	// Output: Fire -10
}

// A further door to a bus, for a program that is to see one name only.
func ExampleMakeEndpoint() {
	startGreeter()
	ctx := context.Background()
	endpoint, err := kdbus.MakeEndpoint(ctx, exampleBus(), kdbus.EndpointConfig{
		Name: fmt.Sprintf("%d-example", os.Getuid()),
		Policies: []kdbus.NamePolicy{{
			Name:   "com.example.Greeter",
			Access: []kdbus.Access{{Kind: kdbus.AccessWorld, Level: kdbus.AccessTalk}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()

	confined, err := kdbus.Dial(ctx, endpoint.Address()) // whoever is given this address
	if err != nil {
		log.Fatal(err)
	}
	defer confined.Close()
	greeting, err := kdbus.Call[string](ctx, confined.Object("com.example.Greeter", "/com/example/Greeter"),
		"com.example.Greeter.Greet", "world")
	if err != nil {
		log.Fatal(err)
	}
	_, err = confined.NameOwner(ctx, "com.example.Secret")
	fmt.Println(greeting, errors.Is(err, kdbus.ErrNameHasNoOwner))

	if err := endpoint.Update(ctx); err != nil { // nothing comes through any more
		log.Fatal(err)
	}
	_, err = confined.NameOwner(ctx, "com.example.Greeter")
	fmt.Println(errors.Is(err, kdbus.ErrNameHasNoOwner))
	// Output:
	// Hello, world! true
	// true
}

// A bus that lasts as long as this program wants it to. A daemon has to serve the domain.
func ExampleMakeBus() {
	ctx := context.Background()
	bus, err := kdbus.MakeBus(ctx, kdbus.BusConfig{Name: fmt.Sprintf("%d-example", os.Getuid())})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	conn, err := kdbus.Dial(ctx, bus.Address())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	// ...
}
