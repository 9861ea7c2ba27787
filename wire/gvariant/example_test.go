package gvariant_test

import (
	"fmt"

	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// A call of a D-Bus 1 program is handed to a program of kdbus's, as coming from :1.7.
func ExampleAppendMessageFromDBus1() {
	call := wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 3,
		Path: "/", Interface: "com.example.Greeter", Member: "Greet", Destination: "com.example.Greeter",
	}}
	if err := call.SetBody("you", uint32(2)); err != nil {
		fmt.Println(err)
		return
	}
	call.Sender = ":1.7"
	v2, err := gvariant.AppendMessageFromDBus1(nil, wire.LittleEndian, &call.Header, call.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := gvariant.ParseMessage(v2)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Member, "from", m.Sender)
	fmt.Printf("%q %q\n", m.Signature, m.Body)
	// Output:
	// Greet from :1.7
	// "su" "you\x00\x02\x00\x00\x00\x04"
}

// A string without its NUL is a value all the same: of the default value.
func ExampleAppendNormal() {
	damaged := []byte("abc")
	fmt.Println(gvariant.Check("s", damaged))
	normal, err := gvariant.AppendNormal(nil, "s", damaged, 100)
	fmt.Printf("%q %v\n", normal, err)
	// Output:
	// wire: invalid value: at byte 2: a string does not end with NUL
	// "\x00" <nil>
}
