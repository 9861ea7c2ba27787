package abi

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// errno names the errno of an error, "" if there is none.
func errno(err error) string {
	var e *Error
	var n syscall.Errno
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e) || !errors.As(err, &n) || e.Errno != n:
		return "no *Error"
	}
	return unix.ErrnoName(n)
}

// Changes to encoded structs.

// with appends an item, and corrects the size.
func with(b []byte, t ItemType, data ...byte) []byte {
	return putSize(AppendItem(bytes.Clone(b), t, data), 0)
}

// put overwrites a number.
func put(b []byte, offset int, v uint64) []byte {
	b = bytes.Clone(b)
	putU64(b, offset, v)
	return b
}

// str is the data of an item with a string.
func str(s string) []byte { return append([]byte(s), 0) }

// nums is the data of an item with numbers.
func nums(v ...uint64) (b []byte) {
	for _, n := range v {
		b = appendU64(b, n)
	}
	return b
}

func TestEveryCommandRefusesABrokenStruct(t *testing.T) {
	for _, cmd := range commands {
		s := cmd.shape()
		b := example(cmd).Append(nil)
		n := len(b)
		for _, c := range []struct {
			name  string
			bytes []byte
			errno string
		}{
			{"nothing at all", nil, "EINVAL"},
			{"less than a size", b[:7], "EINVAL"},
			{"cut off", b[:n-8], "EINVAL"},
			{"bytes behind it", append(bytes.Clone(b), 0, 0, 0, 0, 0, 0, 0, 0), "EINVAL"},
			{"size 0", put(b, 0, 0), "EINVAL"},
			{"size less than the struct's", put(b[:s.size-8], 0, uint64(s.size-8)), "EINVAL"},
			{"size more than is there", put(b, 0, uint64(n+8)), "EINVAL"},
			{"size enormous", put(b, 0, 1<<63), "EMSGSIZE"},
			{"size over the limit", putSize(append(bytes.Clone(b), make([]byte, CmdMaxSize-n+1)...), 0), "EMSGSIZE"},
			{"unknown flag", put(b, 8, 1<<40), "EINVAL"},
			{"unknown item", with(b, 0x7777), "EINVAL"},
			{"item of type 0", with(b, 0), "EINVAL"},
			{"item that the bus only sends", with(b, ItemTimestamp, nums(1, 2, 3)...), "EINVAL"},
			{"header of an item cut off", putSize(append(bytes.Clone(b), nums(16)...), 0), "EINVAL"},
			{"few bytes instead of an item", putSize(append(bytes.Clone(b), 1, 2, 3), 0), "EINVAL"},
			{"item of size 0", putSize(append(bytes.Clone(b), nums(0, 1)...), 0), "EINVAL"},
			{"item smaller than its header", putSize(append(bytes.Clone(b), nums(15, 1)...), 0), "EINVAL"},
			{"item beyond the end", putSize(append(bytes.Clone(b), nums(17, 1)...), 0), "EINVAL"},
			{"item that ends at 2^64", putSize(append(bytes.Clone(b), nums(1<<64-1, 1)...), 0), "EINVAL"},
			{"item that wraps around", putSize(append(bytes.Clone(b), nums(1<<64-8, 1, 0)...), 0), "EINVAL"},
			{"negotiation of half a type", with(b, ItemNegotiate, 1, 2, 3, 4), "EINVAL"},
			{"negotiation twice", with(with(b, ItemNegotiate, nums(1)...), ItemNegotiate, nums(1)...), "EINVAL"},
		} {
			if got := errno(newCommand(cmd).Decode(c.bytes)); got != c.errno {
				t.Errorf("%v, %s: %q, want %q", cmd, c.name, got, c.errno)
			}
			before := bytes.Clone(c.bytes)
			if _, err := cmd.Negotiate(c.bytes); errno(err) != c.errno {
				t.Errorf("%v, %s: Negotiate: %v", cmd, c.name, err)
			}
			if !bytes.Equal(before, c.bytes) {
				t.Errorf("%v, %s: Negotiate wrote in spite of the error", cmd, c.name)
			}
		}
	}
}

func TestSizeIsJudgedBeforeTheRestIsThere(t *testing.T) {
	for _, c := range []struct {
		head  []byte
		errno string
	}{
		{nums(24), ""},
		{nums(CmdMaxSize), ""},
		{nums(23), "EINVAL"},
		{nums(24)[:7], "EINVAL"},
		{nums(CmdMaxSize + 1), "EMSGSIZE"},
		{nums(1 << 63), "EMSGSIZE"},
	} {
		if _, err := CmdByeBye.Size(c.head); errno(err) != c.errno {
			t.Errorf("%x: %v, want %q", c.head, err, c.errno)
		}
	}
	if n, err := MessageSize(nums(64)); n != 64 || err != nil {
		t.Error(n, err)
	}
	if _, err := MessageSize(nums(63)); errno(err) != "EINVAL" {
		t.Error(err)
	}
}

// TestCommandRefusesWhatItsManualPageDoes has what is particular to each command.
func TestCommandRefusesWhatItsManualPageDoes(t *testing.T) {
	make63 := bytes.Repeat([]byte("a"), 63)
	bare := func(c Command) []byte { return c.Append(nil) }
	busMake := bare(&BusMake{Name: "0-a", Bloom: DefaultBloom})
	hello := bare(&Hello{})
	activator := bare(&Hello{Flags: HelloActivator, Name: "a.b"})
	update := bare(&Update{})
	endpoint := bare(&EndpointUpdate{})
	match := bare(&MatchAdd{})
	named := with(endpoint, ItemName, str("a.b")...)

	for _, c := range []struct {
		cmd   Cmd
		name  string
		bytes []byte
		errno string
	}{
		{CmdBusMake, "no name", bare(&BusMake{Bloom: DefaultBloom}), "EBADMSG"},
		{CmdBusMake, "no bloom parameter", bare(&BusMake{Name: "0-a"}), "EBADMSG"},
		{CmdBusMake, "name twice", with(busMake, ItemMakeName, str("0-b")...), "EINVAL"},
		{CmdBusMake, "empty name", with(bare(&BusMake{Bloom: DefaultBloom}), ItemMakeName, 0), "EINVAL"},
		{CmdBusMake, "name of 63 bytes", bare(&BusMake{Name: string(make63), Bloom: DefaultBloom}), ""},
		{CmdBusMake, "name of 64 bytes", bare(&BusMake{Name: string(make63) + "a", Bloom: DefaultBloom}), "ENAMETOOLONG"},
		{CmdBusMake, "name with a slash", bare(&BusMake{Name: "0-a/b", Bloom: DefaultBloom}), "EINVAL"},
		{CmdBusMake, "name ends in a dash", bare(&BusMake{Name: "0-a-", Bloom: DefaultBloom}), "EINVAL"},
		{CmdBusMake, "bloom of 0 bytes", bare(&BusMake{Name: "0-a", Bloom: BloomParameter{0, 1}}), "EINVAL"},
		{CmdBusMake, "bloom of 12 bytes", bare(&BusMake{Name: "0-a", Bloom: BloomParameter{12, 1}}), "EINVAL"},
		{CmdBusMake, "bloom of 4104 bytes", bare(&BusMake{Name: "0-a", Bloom: BloomParameter{4104, 1}}), "EINVAL"},
		{CmdBusMake, "bloom without hashes", bare(&BusMake{Name: "0-a", Bloom: BloomParameter{64, 0}}), "EINVAL"},
		{CmdBusMake, "unknown attach flags", with(busMake, ItemAttachFlagsSend, nums(1<<14)...), "EINVAL"},
		{CmdBusMake, "attach flags of 4 bytes", with(busMake, ItemAttachFlagsSend, 1, 0, 0, 0), "EINVAL"},

		{CmdEndpointMake, "no name", bare(&EndpointMake{}), "EINVAL"},
		{CmdEndpointMake, "access before a name",
			with(bare(&EndpointMake{Name: "0-a"}), ItemPolicyAccess, nums(3, 0, 0)...), "EINVAL"},

		{CmdEndpointUpdate, "access before a name", with(endpoint, ItemPolicyAccess, nums(3, 0, 0)...), "EINVAL"},
		{CmdEndpointUpdate, "access of type 0", with(named, ItemPolicyAccess, nums(0, 0, 0)...), "EINVAL"},
		{CmdEndpointUpdate, "access of type 4", with(named, ItemPolicyAccess, nums(4, 0, 0)...), "EINVAL"},
		{CmdEndpointUpdate, "unknown access", with(named, ItemPolicyAccess, nums(1, 3, 0)...), "EINVAL"},
		{CmdEndpointUpdate, "access for no user", with(named, ItemPolicyAccess, nums(1, 0, IDUnset)...), "EINVAL"},
		{CmdEndpointUpdate, "access for a 33-bit group", with(named, ItemPolicyAccess, nums(2, 0, 1<<32)...), "EINVAL"},
		{CmdEndpointUpdate, "access of 16 bytes", with(named, ItemPolicyAccess, nums(1, 0)...), "EINVAL"},
		{CmdEndpointUpdate, "name of one element", with(endpoint, ItemName, str("a")...), "EINVAL"},
		{CmdEndpointUpdate, "subtree of a wildcard", with(endpoint, ItemNameSubtree, str("a.*")...), "EINVAL"},
		{CmdEndpointUpdate, "rule for calls before a name", with(endpoint, ItemPolicyCall, str("")...), "EINVAL"},
		{CmdEndpointUpdate, "rule for broadcasts before a name", with(endpoint, ItemPolicyBroadcast, str("")...), "EINVAL"},
		{CmdEndpointUpdate, "rule with a NUL", with(named, ItemPolicyCall, str("a\x00")...), "EINVAL"},
		{CmdEndpointUpdate, "rule of no bytes", with(named, ItemPolicyBroadcast), "EINVAL"},
		{CmdEndpointUpdate, "path", with(endpoint, ItemPath, str("/a")...), "EINVAL"},
		{CmdHello, "activator of a subtree", with(bare(&Hello{Flags: HelloActivator}), ItemNameSubtree, str("a.b")...), "EINVAL"},
		{CmdUpdate, "rule for calls", with(with(update, ItemName, str("a.b")...), ItemPolicyCall, str("")...), "EINVAL"},

		{CmdHello, "activator and monitor", bare(&Hello{Flags: HelloActivator | HelloMonitor, Name: "a.b"}), "EINVAL"},
		{CmdHello, "policy holder and monitor", bare(&Hello{Flags: HelloPolicyHolder | HelloMonitor}), "EINVAL"},
		{CmdHello, "activator without name", bare(&Hello{Flags: HelloActivator}), "EINVAL"},
		{CmdHello, "activator with a wildcard", bare(&Hello{Flags: HelloActivator, Name: "a.*"}), "EINVAL"},
		{CmdHello, "ordinary with a name", bare(&Hello{Name: "a.b"}), "EINVAL"},
		{CmdHello, "monitor with a name", bare(&Hello{Flags: HelloMonitor, Name: "a.b"}), "EINVAL"},
		{CmdHello, "name twice", with(activator, ItemName, str("a.b")...), "EINVAL"},
		{CmdHello, "ordinary with a policy", with(hello, ItemPolicyAccess, nums(3, 0, 0)...), "EINVAL"},
		{CmdHello, "unknown attach flags to send", bare(&Hello{AttachFlagsSend: 1 << 14}), "EINVAL"},
		{CmdHello, "unknown attach flags to receive", bare(&Hello{AttachFlagsRecv: 1 << 63}), "EINVAL"},
		{CmdHello, "creds of 56 bytes", with(hello, ItemCreds, make([]byte, 56)...), "EINVAL"},
		{CmdHello, "user of 33 bits", bare(&Hello{Creds: &Creds{EUID: 1 << 32}}), "EINVAL"},
		{CmdHello, "pids of 16 bytes", with(hello, ItemPIDs, make([]byte, 16)...), "EINVAL"},
		{CmdHello, "label without NUL", with(hello, ItemSecLabel, 'a'), "EINVAL"},
		{CmdHello, "label with two NULs", with(hello, ItemSecLabel, 'a', 0, 0), "EINVAL"},
		{CmdHello, "label of no bytes", with(hello, ItemSecLabel), "EINVAL"},
		{CmdHello, "description with a blank", bare(&Hello{Description: "a b"}), "EINVAL"},
		{CmdHello, "description of 64 bytes", bare(&Hello{Description: string(make63) + "a"}), "ENAMETOOLONG"},
		{CmdHello, "bloom parameter of its own", with(hello, ItemBloomParameter, nums(64, 8)...), "EINVAL"},

		{CmdUpdate, "two names", with(with(update, ItemName, str("a.b")...), ItemName, str("a.c")...), "E2BIG"},
		{CmdUpdate, "unknown attach flags", with(update, ItemAttachFlagsRecv, nums(1<<14)...), "EINVAL"},
		{CmdUpdate, "attach flags twice",
			with(with(update, ItemAttachFlagsSend, nums(1)...), ItemAttachFlagsSend, nums(1)...), "EINVAL"},

		{CmdConnInfo, "neither id nor name", put(bare(&ConnInfo{ID: 1}), 24, 0), "EINVAL"},
		{CmdConnInfo, "empty name", with(bare(&ConnInfo{ID: 1}), ItemName, 0), "EINVAL"},
		{CmdConnInfo, "unknown attach flags", bare(&ConnInfo{ID: 1, AttachFlags: 1 << 20}), "EINVAL"},
		{CmdBusCreatorInfo, "unknown attach flags", bare(&BusCreatorInfo{AttachFlags: 1 << 20}), "EINVAL"},

		{CmdRecv, "drop by priority", bare(&Recv{Flags: RecvDrop | RecvUsePriority}), "EINVAL"},
		{CmdSend, "two cancel descriptors", with(bare(&Send{HasCancelFD: true}), ItemCancelFD, 0, 0, 0, 0), "EINVAL"},
		{CmdSend, "cancel descriptor of 8 bytes", with(bare(&Send{}), ItemCancelFD, nums(1)...), "EINVAL"},

		{CmdNameAcquire, "no name", bare(&NameAcquire{}), "EINVAL"},
		{CmdNameAcquire, "wildcard", bare(&NameAcquire{Name: "a.*"}), "EINVAL"},
		{CmdNameAcquire, "unique name", bare(&NameAcquire{Name: ":1.5"}), "EINVAL"},
		{CmdNameAcquire, "two names", with(bare(&NameAcquire{Name: "a.b"}), ItemName, str("a.c")...), "EINVAL"},
		{CmdNameAcquire, "flag that only the bus sets", bare(&NameAcquire{Name: "a.b", Flags: NamePrimary}), "EINVAL"},
		{CmdNameRelease, "no name", putSize(appendHead(nil, 0, Negotiation{}, 0), 0), "EINVAL"},
		{CmdNameRelease, "flags", put(bare(&NameRelease{Name: "a.b"}), 8, uint64(NameQueue)), "EINVAL"},

		{CmdMatchAdd, "empty mask", with(match, ItemBloomMask), "EDOM"},
		{CmdMatchAdd, "mask of 9 bytes", with(match, ItemBloomMask, make([]byte, 9)...), "EDOM"},
		{CmdMatchAdd, "name that is none", with(match, ItemName, str(":1.5")...), "EINVAL"},
		{CmdMatchAdd, "id of 4 bytes", with(match, ItemID, 0, 0, 0, 0), "EINVAL"},
		{CmdMatchAdd, "name change of 31 bytes", with(match, ItemNameAdd, make([]byte, 31)...), "EINVAL"},
		{CmdMatchAdd, "name change without NUL", with(match, ItemNameAdd, append(make([]byte, 32), 'a')...), "EINVAL"},
		{CmdMatchAdd, "id change of 24 bytes", with(match, ItemIDAdd, make([]byte, 24)...), "EINVAL"},
		{CmdMatchAdd, "reply notification", with(match, ItemReplyDead), "EINVAL"},
		{CmdMatchRemove, "rules", with(bare(&MatchRemove{}), ItemID, nums(1)...), "EINVAL"},
		{CmdMatchRemove, "flags", put(bare(&MatchRemove{}), 8, 1), "EINVAL"},
	} {
		if got := newCommand(c.cmd).Decode(c.bytes); errno(got) != c.errno {
			t.Errorf("%v, %s: %v, want %q", c.cmd, c.name, got, c.errno)
		}
	}
}

func TestErrorSaysWhatIsWrongWhere(t *testing.T) {
	b := (&NameAcquire{Name: "org..example"}).Append(nil)
	err := new(NameAcquire).Decode(b)
	const want = "kdbus: invalid NAME_ACQUIRE: at byte 24: item NAME: name has an empty element (invalid argument)"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if !errors.Is(err, syscall.EINVAL) {
		t.Error("errors.Is does not find the errno")
	}
}

func TestNamesAreJudged(t *testing.T) {
	long := "a." + string(bytes.Repeat([]byte("b"), 253))
	for name, want := range map[string]string{
		"a.b": "", "org.example.Name_1": "", "_.-": "", "a-b.c-d": "", long: "",
		"": "EINVAL", "a": "EINVAL", ".": "EINVAL", ".a": "EINVAL", "a.": "EINVAL", "a..b": "EINVAL",
		"1.a": "EINVAL", "a.1": "EINVAL", ":1.5": "EINVAL", "a.*": "EINVAL", "a.ä": "EINVAL", "a.b c": "EINVAL",
		long + "b": "EINVAL",
	} {
		if err := CheckName(name); errno(err) != want {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	for name, ok := range map[string]bool{
		"a.b": true, "a.*": true, "a.b.*": true, "*": false, "a.b*": false, "a.*.b": false, "a.**": false, "*.a": false,
	} {
		if f := checkName(name, true); (f.errno == 0) != ok {
			t.Errorf("%q with wildcards: %q", name, f.reason)
		}
	}
}
