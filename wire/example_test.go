package wire_test

import (
	"fmt"

	"github.com/kdbus-go/kdbus/wire"
)

func Example() {
	call := wire.Message{Header: wire.Header{
		Type:        wire.TypeMethodCall,
		Serial:      1,
		Path:        "/org/freedesktop/DBus",
		Interface:   "org.freedesktop.DBus",
		Member:      "RequestName",
		Destination: "org.freedesktop.DBus",
	}}
	if err := call.SetBody("com.example.Clock", uint32(4)); err != nil {
		fmt.Println(err)
	}
	b, err := call.Append(nil)
	if err != nil {
		fmt.Println(err)
	}

	received, err := wire.ParseMessage(b)
	if err != nil {
		fmt.Println(err)
	}
	var name string
	var flags uint32
	if err := received.Decode(&name, &flags); err != nil {
		fmt.Println(err)
	}
	fmt.Println(received.Type, received.Member, received.Signature, name, flags)
	// Output: method_call RequestName su com.example.Clock 4
}

func ExampleEncoder() {
	var e wire.Encoder
	e.Reset(wire.LittleEndian, nil)
	dict := e.OpenArray('{')
	e.AlignStruct()
	e.String("ProcessID")
	e.Variant("u")
	e.Uint32(42)
	e.CloseArray(dict)
	body, err := e.Body()
	if err != nil {
		fmt.Println(err)
	}
	values, err := wire.Values(wire.LittleEndian, "a{sv}", body)
	fmt.Println(values, err)
	// Output: [map[ProcessID:{u 42}]] <nil>
}

func ExampleArgs() {
	body, sig, err := wire.AppendBody(nil, wire.LittleEndian, "com.example.Clock", []string{"", ":1.7"}, ":1.7")
	if err != nil {
		fmt.Println(err)
	}
	args := wire.NewArgs(wire.LittleEndian, string(sig), body)
	for arg, ok := args.Next(); ok; arg, ok = args.Next() {
		fmt.Printf("arg%d %s %q\n", arg.Index, arg.Signature, arg.Text)
	}
	// Output:
	// arg0 s "com.example.Clock"
	// arg1 as ""
	// arg2 s ":1.7"
}
