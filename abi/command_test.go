package abi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// commands are the numbers of all commands.
var commands = []Cmd{
	CmdBusMake, CmdEndpointMake, CmdEndpointUpdate, CmdHello, CmdUpdate, CmdByeBye, CmdFree, CmdConnInfo,
	CmdBusCreatorInfo, CmdList, CmdSend, CmdRecv, CmdNameAcquire, CmdNameRelease, CmdMatchAdd, CmdMatchRemove,
}

// newCommand returns an empty command.
func newCommand(c Cmd) Command {
	switch c {
	case CmdBusMake:
		return new(BusMake)
	case CmdEndpointMake:
		return new(EndpointMake)
	case CmdEndpointUpdate:
		return new(EndpointUpdate)
	case CmdHello:
		return new(Hello)
	case CmdUpdate:
		return new(Update)
	case CmdByeBye:
		return new(ByeBye)
	case CmdFree:
		return new(Free)
	case CmdConnInfo:
		return new(ConnInfo)
	case CmdBusCreatorInfo:
		return new(BusCreatorInfo)
	case CmdList:
		return new(List)
	case CmdSend:
		return new(Send)
	case CmdRecv:
		return new(Recv)
	case CmdNameAcquire:
		return new(NameAcquire)
	case CmdNameRelease:
		return new(NameRelease)
	case CmdMatchAdd:
		return new(MatchAdd)
	case CmdMatchRemove:
		return new(MatchRemove)
	}
	panic(c)
}

// replied is a command that the bus fills something into.
type replied interface {
	Command
	PutReply(b []byte)
	DecodeReply(b []byte) error
}

// example returns a valid command with something in every field that a client
// fills in.
func example(c Cmd) Command {
	send, recv := AttachCreds, AttachAll
	policies := []Policy{
		{Name: "org.example.A", Access: []PolicyAccess{{PolicyAccessUser, PolicyOwn, 1000}, {PolicyAccessWorld, PolicySee, 0}}},
		{Name: "org.example.B.*"},
	}
	ruled := append(policies[:2:2],
		Policy{Name: "org.example.C", Subtree: true, Access: []PolicyAccess{{PolicyAccessWorld, PolicyTalk, 0}}},
		Policy{Name: "org.example.D", Calls: []string{"", "member='Get'"}, Broadcasts: []string{"path='/a'"}})
	switch c {
	case CmdBusMake:
		return &BusMake{
			Flags: MakeAccessGroup, Name: "1000-bus", Bloom: DefaultBloom, AttachFlagsSend: AttachAll,
			AttachFlagsRecv: AttachCreds,
		}
	case CmdEndpointMake:
		return &EndpointMake{Flags: MakeAccessWorld, Name: "1000-door", Policies: ruled}
	case CmdEndpointUpdate:
		return &EndpointUpdate{Policies: ruled}
	case CmdHello:
		return &Hello{
			Flags: HelloAcceptFD | HelloPolicyHolder, AttachFlagsSend: AttachAll, AttachFlagsRecv: AttachPIDs,
			PoolSize: 16 << 20, Name: "org.example.*", Access: policies[0].Access, Description: "test-1",
			Creds: &Creds{UID: 1, FSGID: IDUnset}, PIDs: &PIDs{PID: 2}, SecLabel: "label",
		}
	case CmdUpdate:
		return &Update{AttachFlagsSend: &send, AttachFlagsRecv: &recv, Policies: policies[:1]}
	case CmdByeBye:
		return &ByeBye{}
	case CmdFree:
		return &Free{Offset: 4096}
	case CmdConnInfo:
		return &ConnInfo{ID: 7, Name: "org.example.A", AttachFlags: AttachCreds}
	case CmdBusCreatorInfo:
		return &BusCreatorInfo{AttachFlags: AttachCreds}
	case CmdList:
		return &List{Flags: ListUnique | ListQueued}
	case CmdSend:
		return &Send{Flags: SendSyncReply, MsgAddress: 1 << 40, CancelFD: 5, HasCancelFD: true}
	case CmdRecv:
		return &Recv{Flags: RecvUsePriority | RecvPeek, Priority: -3}
	case CmdNameAcquire:
		return &NameAcquire{Flags: NameReplaceExisting | NameQueue, Name: "org.example.A"}
	case CmdNameRelease:
		return &NameRelease{Name: "org.example.A"}
	case CmdMatchAdd:
		return &MatchAdd{Flags: MatchReplace, Cookie: 9, Rules: []MatchRule{
			{Type: ItemBloomMask, Mask: make([]byte, 128)},
			{Type: ItemName, Name: "org.example.A"},
			{Type: ItemID, ID: 3},
			{Type: ItemDstID, ID: MatchIDAny},
			{Type: ItemNameAdd, NewID: MatchIDAny, AnyName: true},
			{Type: ItemNameRemove, OldID: 4, Name: "org.example.A"},
			{Type: ItemNameChange, OldID: 4, NewID: 5},
			{Type: ItemIDAdd, ID: MatchIDAny},
			{Type: ItemIDRemove, ID: 6},
			{Type: ItemMatchRule, Name: "type='signal'"},
		}}
	case CmdMatchRemove:
		return &MatchRemove{Cookie: 9}
	}
	panic(c)
}

func TestCommandIsDecodedToWhatWasEncoded(t *testing.T) {
	for _, cmd := range commands {
		t.Run(cmd.String(), func(t *testing.T) {
			want, got := example(cmd), newCommand(cmd)
			if want.Cmd() != cmd {
				t.Errorf("Cmd() is %v", want.Cmd())
			}
			// What is before it does not matter, aligned or not.
			b := want.Append([]byte("abc"))[3:]
			if n, err := cmd.Size(b); err != nil || n != len(b) {
				t.Errorf("Size: %d, %v; want %d", n, err, len(b))
			}
			if err := got.Decode(b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			// Nor does the missing padding at the end.
			for len(b) > cmd.FixedSize() && b[len(b)-1] == 0 && lastItemEnd(cmd, b) < len(b) {
				b = b[:len(b)-1]
				putU64(b, 0, uint64(len(b)))
				if err := got.Decode(b); err != nil {
					t.Errorf("%d bytes of padding less: %v", 1, err)
				}
			}
		})
	}
}

// lastItemEnd returns where the last item ends, without padding.
func lastItemEnd(cmd Cmd, b []byte) int {
	end := cmd.FixedSize()
	for offset := end; offset < len(b); offset += align8(int(u64(b, offset))) {
		end = offset + int(u64(b, offset))
	}
	return end
}

func TestReplyIsReadAsItWasWritten(t *testing.T) {
	msg := MsgInfo{Offset: 1, Size: 2, ReturnFlags: RecvReturnIncompleteFDs}
	for _, c := range []struct {
		sent, want replied
		got        replied
	}{
		{&Hello{Reply: HelloReply{
			BusFlags: MakeAccessWorld, ID: 1, Offset: 2, ItemsSize: 3, ID128: [16]byte{4, 15: 5}, Bloom: DefaultBloom,
		}}, nil, &Hello{}},
		{&NameAcquire{ReturnFlags: NamePrimary | NameAcquired}, nil, &NameAcquire{}},
		{&List{Offset: 1, ListSize: 2}, nil, &List{}},
		{&ConnInfo{Offset: 1, InfoSize: 2}, nil, &ConnInfo{}},
		{&BusCreatorInfo{Offset: 1, InfoSize: 2}, nil, &BusCreatorInfo{}},
		{&Send{Reply: msg}, nil, &Send{}},
		{&Recv{ReturnFlags: RecvReturnDroppedMsgs, DroppedMsgs: 3, Msg: msg}, nil, &Recv{}},
	} {
		t.Run(c.sent.Cmd().String(), func(t *testing.T) {
			if err := c.got.DecodeReply(c.sent.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.sent, c.got); diff != "" {
				t.Errorf("sent as a struct: %s", diff)
			}

			b := example(c.sent.Cmd()).Append(nil)
			size := len(b)
			c.sent.PutReply(b)
			if h, ok := c.sent.(*Hello); ok {
				h.Reply.Bloom = BloomParameter{} // is elsewhere then
			}
			if err := c.got.DecodeReply(b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.sent, c.got); diff != "" {
				t.Errorf("written over the request: %s", diff)
			}
			if u64(b, 0) != uint64(size) {
				t.Error("the size was changed")
			}
			if err := newCommand(c.sent.Cmd()).Decode(b); err != nil {
				t.Errorf("the request is none any more: %v", err)
			}
		})
	}
}

func TestReplyWithUnknownItemsIsRead(t *testing.T) {
	b := (&Hello{Reply: HelloReply{ID: 1, Bloom: DefaultBloom}}).Append(nil)
	b = putSize(AppendItem(b, 0x7777, []byte("later")), 0)
	var h Hello
	if err := h.DecodeReply(b); err != nil || h.Reply.ID != 1 || h.Reply.Bloom != DefaultBloom {
		t.Errorf("%+v, %v", h.Reply, err)
	}
}

func TestAnyAttachFlagDegradesToAll(t *testing.T) {
	var h Hello
	err := h.Decode((&Hello{AttachFlagsSend: AttachAny, AttachFlagsRecv: AttachAny}).Append(nil))
	if err != nil || h.AttachFlagsSend != AttachAll || h.AttachFlagsRecv != AttachAll {
		t.Errorf("%v, %v, %v", h.AttachFlagsSend, h.AttachFlagsRecv, err)
	}
}

func TestNegotiationTellsFlagsAndItems(t *testing.T) {
	for _, cmd := range commands {
		t.Run(cmd.String(), func(t *testing.T) {
			s := cmd.shape()
			asked := []ItemType{ItemNegotiate, 0x7777}
			want := []ItemType{ItemNegotiate, 0}
			for _, r := range s.items {
				asked, want = append(asked, r.item), append(want, r.item)
			}
			// A probe needs no mandatory items, and no fields that make sense.
			b := putSize(Negotiation{Items: asked}.append(appendHead(nil, 0, Negotiation{Probe: true}, 0)), 0)
			b = append(b[:24:24], append(make([]byte, s.size-24), b[24:]...)...)
			putSize(b, 0)

			c := newCommand(cmd)
			if err := c.Decode(b); err != nil {
				t.Fatal(err)
			}
			probe, err := cmd.Negotiate(b)
			if err != nil || !probe {
				t.Fatalf("%v, %v", probe, err)
			}
			flags, items, err := cmd.Negotiated(b)
			if err != nil || flags != s.flags || !cmp.Equal(items, want) {
				t.Errorf("flags %#x, items %v, %v", flags, items, err)
			}
		})
	}
}

func TestNegotiationGoesWithACommandThatIsDone(t *testing.T) {
	c := NameRelease{Name: "a.b", Negotiate: Negotiation{Items: []ItemType{ItemFDs, ItemName}}}
	b := c.Append(nil)
	var got NameRelease
	if err := got.Decode(b); err != nil || !got.Negotiate.Asked() || got.Negotiate.Probe {
		t.Fatalf("%+v, %v", got, err)
	}
	if probe, err := CmdNameRelease.Negotiate(b); probe || err != nil {
		t.Errorf("%v, %v", probe, err)
	}
	_, items, err := CmdNameRelease.Negotiated(b)
	if err != nil || !cmp.Equal(items, []ItemType{0, ItemName}) {
		t.Errorf("%v, %v", items, err)
	}
}

func TestMessageNegotiates(t *testing.T) {
	m := Message{Negotiate: Negotiation{Probe: true, Items: []ItemType{ItemFDs, ItemPayloadOff}}}
	b := m.Append(nil)
	var got Message
	if err := got.DecodeSent(b, 0); err != nil || !got.Negotiate.Probe || len(got.Negotiate.Items) != 2 {
		t.Fatalf("%+v, %v", got.Negotiate, err)
	}
	if probe, err := NegotiateMessage(b); !probe || err != nil {
		t.Errorf("%v, %v", probe, err)
	}
	flags, items, err := NegotiatedMessage(b)
	if err != nil || flags != uint64(MsgExpectReply|MsgNoAutoStart|MsgSignal) ||
		!cmp.Equal(items, []ItemType{ItemFDs, 0}) {
		t.Errorf("%#x, %v, %v", flags, items, err)
	}
}

func TestCommandThatDoesNotExist(t *testing.T) {
	const none = Cmd(0x40189599)
	if _, err := none.Size(make([]byte, 8)); errno(err) != "ENOTTY" {
		t.Error(err)
	}
	if _, err := none.Negotiate(nil); errno(err) != "ENOTTY" {
		t.Error(err)
	}
	if _, _, err := none.Negotiated(nil); errno(err) != "ENOTTY" {
		t.Error(err)
	}
	if none.FixedSize() != 0 || none.String() != "command 0x40189599" {
		t.Error(none.FixedSize(), none)
	}
}

// TestAnyCommandIsDecodedToWhatWasEncoded draws valid commands.
func TestAnyCommandIsDecodedToWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCommand(t)
		got := newCommand(want.Cmd())
		if err := got.Decode(want.Append(nil)); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTheAnswerToMakingSaysWhereItIs(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []byte
		path  string
		errno string
	}{
		{"path", AppendPath(nil, "/run/kdbus/0-system/0-door"), "/run/kdbus/0-system/0-door", ""},
		{"nothing", nil, "", ""},
		{"another item before it", AppendPath(AppendItem(nil, 1<<40, []byte{1}), "/a"), "/a", ""},
		{"path without NUL", AppendItem(nil, ItemPath, []byte("/a")), "", "EINVAL"},
		{"half an item", AppendPath(nil, "/a")[:12], "", "EINVAL"},
	} {
		path, err := DecodePath(c.items)
		if path != c.path || errno(err) != c.errno {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, path, err, c.path, c.errno)
		}
	}
}
