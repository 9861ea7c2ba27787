package abi_test

import (
	"fmt"

	"github.com/kdbus-go/kdbus/abi"
)

// A client asks for a name, and a bus answers.
func Example() {
	request := abi.NameAcquire{Name: "org.example.Service", Flags: abi.NameQueue}
	sent := request.Append(nil)

	// The bus has a copy of the bytes, and knows from the ioctl or the frame
	// which command they are.
	var c abi.NameAcquire
	if err := c.Decode(sent); err != nil {
		fmt.Println(err)
		return
	}
	c.ReturnFlags = abi.NamePrimary | abi.NameAcquired
	c.PutReply(sent)

	if err := request.DecodeReply(sent); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name, request.ReturnFlags)
	// Output: org.example.Service PRIMARY|ACQUIRED
}

// A bus delivers a message with what the receiver wants to know of the sender.
func ExampleMessage() {
	sender := abi.Metadata{
		Has:   abi.AttachCreds | abi.AttachPIDComm,
		Creds: abi.Creds{UID: 1000, EUID: 1000}, PIDComm: "editor",
	}
	m := abi.Message{
		SrcID: 7, DstID: 9, PayloadType: abi.PayloadDBus, Cookie: 1,
		Payload:  []abi.Payload{{Type: abi.ItemPayloadOff, Size: 5}},
		Metadata: sender.Append(nil, abi.AttachPIDComm),
	}
	m.Payload[0].Offset = uint64(m.Size())
	delivered := append(m.Append(nil), "hello"...)

	var got abi.Message
	if err := got.DecodeReceived(delivered); err != nil {
		fmt.Println(err)
		return
	}
	var from abi.Metadata
	if err := from.Decode(got.Metadata); err != nil {
		fmt.Println(err)
		return
	}
	p := got.Payload[0]
	fmt.Printf("%s from %d, %s (%v)\n", delivered[p.Offset:][:p.Size], got.SrcID, from.PIDComm, from.Has)
	// Output: hello from 7, editor (PID_COMM)
}

// What does the bus know?
func ExampleNegotiation() {
	b := (&abi.MatchAdd{Negotiate: abi.Negotiation{
		Probe: true,
		Items: []abi.ItemType{abi.ItemDstID, abi.ItemMatchRule, abi.ItemFDs},
	}}).Append(nil)

	if probe, err := abi.CmdMatchAdd.Negotiate(b); !probe || err != nil {
		fmt.Println(probe, err)
		return
	}
	flags, items, err := abi.CmdMatchAdd.Negotiated(b)
	fmt.Println(abi.MatchFlags(flags), items, err)
	// Output: REPLACE [DST_ID MATCH_RULE type 0x0] <nil>
}
