package kdbus_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus"
)

// Greeter is a service: its methods and properties are what peers see.
type Greeter struct {
	Greeting kdbus.Property[string] `kdbus:",writable"`
	Greeted  kdbus.Signal[string]
}

// Greet is the method com.example.Greeter.Greet.
func (g *Greeter) Greet(ctx context.Context, name string) (string, error) {
	if strings.TrimSpace(name) == "" {
		return "", kdbus.NewError("com.example.Greeter.NoName", "whom shall I greet?")
	}
	return g.Greeting.Get() + ", " + name + "!", g.Greeted.Emit(name)
}

// A whole service. A program would call DialSession and wait for a signal to end.
func Example_service() {
	ctx := context.Background()
	conn, err := kdbus.Dial(ctx, newExampleBus())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	greeter := &Greeter{}
	greeter.Greeting.Set("Hello")
	if err := conn.Export("/com/example/Greeter", "com.example.Greeter", greeter); err != nil {
		fmt.Println(err)
		return
	}
	name, err := conn.RequestName(ctx, "com.example.Greeter", kdbus.DoNotQueue)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(name, <-name.Events())
	// Output: com.example.Greeter acquired
}

// A whole client.
func Example_client() {
	startGreeter()
	ctx := context.Background()
	conn, err := kdbus.Dial(ctx, exampleBus())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	greeter := conn.Object("com.example.Greeter", "/com/example/Greeter")
	text, err := kdbus.Call[string](ctx, greeter, "com.example.Greeter.Greet", "world")
	fmt.Println(text, err)
	// Output: Hello, world! <nil>
}
