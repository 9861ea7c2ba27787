package abi

import (
	"encoding/binary"
	"testing"
)

// The numbers in this file were taken from a C program that includes kdbus.h, on
// amd64. They are the ABI: nothing here may change.

func TestConstantsAreThoseOfTheHeader(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"KDBUS_SRC_ID_KERNEL", SrcIDKernel, 0},
		{"KDBUS_DST_ID_NAME", DstIDName, 0},
		{"KDBUS_MATCH_ID_ANY", MatchIDAny, 0xffffffffffffffff},
		{"KDBUS_DST_ID_BROADCAST", DstIDBroadcast, 0xffffffffffffffff},
		{"KDBUS_FLAG_NEGOTIATE", FlagNegotiate, 0x8000000000000000},

		{"KDBUS_POLICY_ACCESS_USER", uint64(PolicyAccessUser), 1},
		{"KDBUS_POLICY_ACCESS_GROUP", uint64(PolicyAccessGroup), 2},
		{"KDBUS_POLICY_ACCESS_WORLD", uint64(PolicyAccessWorld), 3},
		{"KDBUS_POLICY_SEE", uint64(PolicySee), 0},
		{"KDBUS_POLICY_TALK", uint64(PolicyTalk), 1},
		{"KDBUS_POLICY_OWN", uint64(PolicyOwn), 2},

		{"KDBUS_ATTACH_TIMESTAMP", uint64(AttachTimestamp), 0x1},
		{"KDBUS_ATTACH_CREDS", uint64(AttachCreds), 0x2},
		{"KDBUS_ATTACH_PIDS", uint64(AttachPIDs), 0x4},
		{"KDBUS_ATTACH_AUXGROUPS", uint64(AttachAuxGroups), 0x8},
		{"KDBUS_ATTACH_NAMES", uint64(AttachNames), 0x10},
		{"KDBUS_ATTACH_TID_COMM", uint64(AttachTIDComm), 0x20},
		{"KDBUS_ATTACH_PID_COMM", uint64(AttachPIDComm), 0x40},
		{"KDBUS_ATTACH_EXE", uint64(AttachExe), 0x80},
		{"KDBUS_ATTACH_CMDLINE", uint64(AttachCmdline), 0x100},
		{"KDBUS_ATTACH_CGROUP", uint64(AttachCGroup), 0x200},
		{"KDBUS_ATTACH_CAPS", uint64(AttachCaps), 0x400},
		{"KDBUS_ATTACH_SECLABEL", uint64(AttachSecLabel), 0x800},
		{"KDBUS_ATTACH_AUDIT", uint64(AttachAudit), 0x1000},
		{"KDBUS_ATTACH_CONN_DESCRIPTION", uint64(AttachConnDescription), 0x2000},
		{"_KDBUS_ATTACH_ALL", uint64(AttachAll), 0x3fff},
		{"_KDBUS_ATTACH_ANY", uint64(AttachAny), 0xffffffffffffffff},

		{"KDBUS_ITEM_NEGOTIATE", uint64(ItemNegotiate), 1},
		{"KDBUS_ITEM_PAYLOAD_VEC", uint64(ItemPayloadVec), 2},
		{"KDBUS_ITEM_PAYLOAD_OFF", uint64(ItemPayloadOff), 3},
		{"KDBUS_ITEM_PAYLOAD_MEMFD", uint64(ItemPayloadMemfd), 4},
		{"KDBUS_ITEM_FDS", uint64(ItemFDs), 5},
		{"KDBUS_ITEM_CANCEL_FD", uint64(ItemCancelFD), 6},
		{"KDBUS_ITEM_BLOOM_PARAMETER", uint64(ItemBloomParameter), 7},
		{"KDBUS_ITEM_BLOOM_FILTER", uint64(ItemBloomFilter), 8},
		{"KDBUS_ITEM_BLOOM_MASK", uint64(ItemBloomMask), 9},
		{"KDBUS_ITEM_DST_NAME", uint64(ItemDstName), 10},
		{"KDBUS_ITEM_MAKE_NAME", uint64(ItemMakeName), 11},
		{"KDBUS_ITEM_ATTACH_FLAGS_SEND", uint64(ItemAttachFlagsSend), 12},
		{"KDBUS_ITEM_ATTACH_FLAGS_RECV", uint64(ItemAttachFlagsRecv), 13},
		{"KDBUS_ITEM_ID", uint64(ItemID), 14},
		{"KDBUS_ITEM_NAME", uint64(ItemName), 15},
		{"KDBUS_ITEM_DST_ID", uint64(ItemDstID), 16},
		{"KDBUS_ITEM_TIMESTAMP", uint64(ItemTimestamp), 0x1000},
		{"KDBUS_ITEM_CREDS", uint64(ItemCreds), 0x1001},
		{"KDBUS_ITEM_PIDS", uint64(ItemPIDs), 0x1002},
		{"KDBUS_ITEM_AUXGROUPS", uint64(ItemAuxGroups), 0x1003},
		{"KDBUS_ITEM_OWNED_NAME", uint64(ItemOwnedName), 0x1004},
		{"KDBUS_ITEM_TID_COMM", uint64(ItemTIDComm), 0x1005},
		{"KDBUS_ITEM_PID_COMM", uint64(ItemPIDComm), 0x1006},
		{"KDBUS_ITEM_EXE", uint64(ItemExe), 0x1007},
		{"KDBUS_ITEM_CMDLINE", uint64(ItemCmdline), 0x1008},
		{"KDBUS_ITEM_CGROUP", uint64(ItemCGroup), 0x1009},
		{"KDBUS_ITEM_CAPS", uint64(ItemCaps), 0x100a},
		{"KDBUS_ITEM_SECLABEL", uint64(ItemSecLabel), 0x100b},
		{"KDBUS_ITEM_AUDIT", uint64(ItemAudit), 0x100c},
		{"KDBUS_ITEM_CONN_DESCRIPTION", uint64(ItemConnDescription), 0x100d},
		{"KDBUS_ITEM_POLICY_ACCESS", uint64(ItemPolicyAccess), 0x2000},
		{"KDBUS_ITEM_NAME_ADD", uint64(ItemNameAdd), 0x8000},
		{"KDBUS_ITEM_NAME_REMOVE", uint64(ItemNameRemove), 0x8001},
		{"KDBUS_ITEM_NAME_CHANGE", uint64(ItemNameChange), 0x8002},
		{"KDBUS_ITEM_ID_ADD", uint64(ItemIDAdd), 0x8003},
		{"KDBUS_ITEM_ID_REMOVE", uint64(ItemIDRemove), 0x8004},
		{"KDBUS_ITEM_REPLY_TIMEOUT", uint64(ItemReplyTimeout), 0x8005},
		{"KDBUS_ITEM_REPLY_DEAD", uint64(ItemReplyDead), 0x8006},

		{"KDBUS_MSG_EXPECT_REPLY", uint64(MsgExpectReply), 1},
		{"KDBUS_MSG_NO_AUTO_START", uint64(MsgNoAutoStart), 2},
		{"KDBUS_MSG_SIGNAL", uint64(MsgSignal), 4},
		{"KDBUS_PAYLOAD_KERNEL", uint64(PayloadKernel), 0},
		{"KDBUS_PAYLOAD_DBUS", uint64(PayloadDBus), 0x4442757344427573},
		{"KDBUS_SEND_SYNC_REPLY", uint64(SendSyncReply), 1},
		{"KDBUS_RECV_PEEK", uint64(RecvPeek), 1},
		{"KDBUS_RECV_DROP", uint64(RecvDrop), 2},
		{"KDBUS_RECV_USE_PRIORITY", uint64(RecvUsePriority), 4},
		{"KDBUS_RECV_RETURN_INCOMPLETE_FDS", uint64(RecvReturnIncompleteFDs), 1},
		{"KDBUS_RECV_RETURN_DROPPED_MSGS", uint64(RecvReturnDroppedMsgs), 2},
		{"KDBUS_HELLO_ACCEPT_FD", uint64(HelloAcceptFD), 1},
		{"KDBUS_HELLO_ACTIVATOR", uint64(HelloActivator), 2},
		{"KDBUS_HELLO_POLICY_HOLDER", uint64(HelloPolicyHolder), 4},
		{"KDBUS_HELLO_MONITOR", uint64(HelloMonitor), 8},
		{"KDBUS_LIST_UNIQUE", uint64(ListUnique), 1},
		{"KDBUS_LIST_NAMES", uint64(ListNames), 2},
		{"KDBUS_LIST_ACTIVATORS", uint64(ListActivators), 4},
		{"KDBUS_LIST_QUEUED", uint64(ListQueued), 8},
		{"KDBUS_MATCH_REPLACE", uint64(MatchReplace), 1},
		{"KDBUS_MAKE_ACCESS_GROUP", uint64(MakeAccessGroup), 1},
		{"KDBUS_MAKE_ACCESS_WORLD", uint64(MakeAccessWorld), 2},
		{"KDBUS_NAME_REPLACE_EXISTING", uint64(NameReplaceExisting), 1},
		{"KDBUS_NAME_ALLOW_REPLACEMENT", uint64(NameAllowReplacement), 2},
		{"KDBUS_NAME_QUEUE", uint64(NameQueue), 4},
		{"KDBUS_NAME_IN_QUEUE", uint64(NameInQueue), 8},
		{"KDBUS_NAME_ACTIVATOR", uint64(NameActivator), 16},
		{"KDBUS_NAME_PRIMARY", uint64(NamePrimary), 32},
		{"KDBUS_NAME_ACQUIRED", uint64(NameAcquired), 64},

		{"KDBUS_MSG_MAX_SIZE", MsgMaxSize, 8192},
		{"KDBUS_MSG_MAX_MEMFD_ITEMS", MsgMaxMemfdItems, 16},
		{"KDBUS_CMD_MAX_SIZE", CmdMaxSize, 32768},
		{"KDBUS_CONN_MAX_FDS_PER_USER", ConnMaxFDsPerUser, 16},
		{"KDBUS_MSG_MAX_PAYLOAD_VEC_SIZE", MsgMaxPayloadVecSize, 2097152},
		{"KDBUS_BUS_BLOOM_MAX_SIZE", BusBloomMaxSize, 4096},
		{"KDBUS_NAME_MAX_LEN", NameMaxLen, 255},
		{"KDBUS_SYSNAME_MAX_LEN", SysnameMaxLen, 63},
		{"KDBUS_MATCH_MAX", MatchMax, 256},
		{"KDBUS_CONN_MAX_MSGS", ConnMaxMsgs, 256},
		{"KDBUS_CONN_MAX_NAMES", ConnMaxNames, 256},
		{"KDBUS_CONN_MAX_REQUESTS_PENDING", ConnMaxRequestsPending, 128},
		{"KDBUS_USER_MAX_CONN", UserMaxConn, 1024},
		{"KDBUS_USER_MAX_BUSES", UserMaxBuses, 16},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

func TestFixedSizesAreThoseOfTheStructs(t *testing.T) {
	for cmd, want := range map[Cmd]int{
		CmdBusMake: 24, CmdEndpointMake: 24, CmdEndpointUpdate: 24, CmdHello: 96, CmdUpdate: 24, CmdByeBye: 24,
		CmdFree: 32, CmdConnInfo: 56, CmdBusCreatorInfo: 56, CmdList: 40, CmdSend: 56, CmdRecv: 64,
		CmdNameAcquire: 24, CmdNameRelease: 24, CmdMatchAdd: 32, CmdMatchRemove: 32,
	} {
		if got := cmd.FixedSize(); got != want {
			t.Errorf("%v: %d bytes, want %d", cmd, got, want)
		}
		if got := len(newCommand(cmd).Append(nil)); got < want {
			t.Errorf("%v: Append appends %d bytes, want %d at least", cmd, got, want)
		}
	}
}

// at is a number at an offset.
type at struct {
	offset int
	size   int
	value  uint64
}

// TestFieldsLieWhereTheStructsHaveThem encodes values in which every field
// differs, and looks for them at the offsets that offsetof gives.
func TestFieldsLieWhereTheStructsHaveThem(t *testing.T) {
	flags := AttachFlags(3)
	message := Message{
		Flags: MsgExpectReply, Priority: -2, DstID: 3, SrcID: 4, PayloadType: 5, Cookie: 6, TimeoutNS: 7,
		Payload: []Payload{
			{Type: ItemPayloadVec, Size: 8, Offset: 9},
			{Type: ItemPayloadMemfd, Offset: 10, Size: 11, FD: 12},
		},
		FDs: []int32{13, 14, 15},
	}
	metadata := Metadata{
		Has: AttachAll, Timestamp: Timestamp{1, 2, 3}, Creds: Creds{4, 5, 6, 7, 8, 9, 10, 11},
		PIDs: PIDs{12, 13, 14}, AuxGroups: []uint64{15, 16}, Names: []OwnedName{{"a.b", 17}},
		TIDComm: "t", PIDComm: "p", Exe: "e", Cmdline: []string{"a", "b"}, CGroup: "c",
		Caps:     Caps{40, 0x100000012, 0x100000013, 0x100000014, 0x100000015},
		SecLabel: "s", Audit: Audit{22, 23}, Description: "d",
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		want  []at
	}{
		{"kdbus_cmd_hello", (&Hello{
			Flags: HelloMonitor, AttachFlagsSend: 2, AttachFlagsRecv: 3, PoolSize: 4,
			Reply: HelloReply{BusFlags: 5, ID: 6, Offset: 7, ItemsSize: 8, ID128: [16]byte{9, 15: 10}},
		}).Append(nil), []at{
			{0, 8, 96}, {8, 8, 8}, {16, 8, 0}, {24, 8, 2}, {32, 8, 3}, {40, 8, 5}, {48, 8, 6}, {56, 8, 4},
			{64, 8, 7}, {72, 8, 8}, {80, 1, 9}, {95, 1, 10},
		}},
		{"kdbus_cmd", (&NameAcquire{Flags: NameQueue, ReturnFlags: NamePrimary, Name: "a.b"}).Append(nil), []at{
			{0, 8, 48}, {8, 8, 4}, {16, 8, 32}, {24, 8, 20}, {32, 8, 15}, {40, 1, 'a'}, {43, 1, 0}, {44, 4, 0},
		}},
		{"kdbus_cmd_free", (&Free{Offset: 2}).Append(nil), []at{{0, 8, 32}, {24, 8, 2}}},
		{"kdbus_cmd_list", (&List{Flags: ListQueued, Offset: 2, ListSize: 3}).Append(nil), []at{
			{0, 8, 40}, {8, 8, 8}, {24, 8, 2}, {32, 8, 3},
		}},
		{"kdbus_cmd_info", (&ConnInfo{ID: 2, AttachFlags: 3, Offset: 4, InfoSize: 5}).Append(nil), []at{
			{0, 8, 56}, {24, 8, 2}, {32, 8, 3}, {40, 8, 4}, {48, 8, 5},
		}},
		{"kdbus_cmd_info", (&BusCreatorInfo{AttachFlags: 3, Offset: 4, InfoSize: 5}).Append(nil), []at{
			{0, 8, 56}, {24, 8, 0}, {32, 8, 3}, {40, 8, 4}, {48, 8, 5},
		}},
		{"kdbus_cmd_send", (&Send{
			Flags: SendSyncReply, MsgAddress: 2, Reply: MsgInfo{3, 4, 5}, CancelFD: 6, HasCancelFD: true,
		}).Append(nil), []at{
			{0, 8, 80}, {8, 8, 1}, {24, 8, 2}, {32, 8, 3}, {40, 8, 4}, {48, 8, 5},
			{56, 8, 20}, {64, 8, 6}, {72, 4, 6},
		}},
		{"kdbus_cmd_recv", (&Recv{
			Flags: RecvPeek, Priority: -2, ReturnFlags: RecvReturnDroppedMsgs, DroppedMsgs: 3, Msg: MsgInfo{4, 5, 6},
		}).Append(nil), []at{
			{0, 8, 64}, {8, 8, 1}, {16, 8, 2}, {24, 8, 0xfffffffffffffffe}, {32, 8, 3}, {40, 8, 4}, {48, 8, 5},
			{56, 8, 6},
		}},
		{"kdbus_cmd_match", (&MatchAdd{Flags: MatchReplace, Cookie: 2, Rules: []MatchRule{
			{Type: ItemNameChange, OldID: 3, NewID: 4, Name: "n"},
			{Type: ItemIDRemove, ID: 5},
			{Type: ItemDstID, ID: 6},
		}}).Append(nil), []at{
			{0, 8, 144}, {8, 8, 1}, {24, 8, 2},
			{32, 8, 50}, {40, 8, 0x8002}, {48, 8, 3}, {64, 8, 4}, {80, 1, 'n'},
			{88, 8, 32}, {96, 8, 0x8004}, {104, 8, 5},
			{120, 8, 24}, {128, 8, 16}, {136, 8, 6},
		}},
		{"policy", (&Update{AttachFlagsSend: &flags, Policies: []Policy{
			{Name: "a.b", Access: []PolicyAccess{{PolicyAccessGroup, PolicyOwn, 4}}},
		}}).Append(nil), []at{
			{24, 8, 24}, {32, 8, 12}, {40, 8, 3}, {48, 8, 20}, {72, 8, 40}, {80, 8, 0x2000}, {88, 8, 2}, {96, 8, 2},
			{104, 8, 4},
		}},
		{"kdbus_msg", message.Append(nil), []at{
			{0, 8, 64 + 32 + 40 + 32}, {8, 8, 1}, {16, 8, 0xfffffffffffffffe}, {24, 8, 3}, {32, 8, 4}, {40, 8, 5},
			{48, 8, 6}, {56, 8, 7},
			{64, 8, 32}, {72, 8, 2}, {80, 8, 8}, {88, 8, 9},
			{96, 8, 40}, {104, 8, 4}, {112, 8, 10}, {120, 8, 11}, {128, 4, 12}, {132, 4, 0},
			{136, 8, 28}, {144, 8, 5}, {152, 4, 13}, {156, 4, 14}, {160, 4, 15}, {164, 4, 0},
		}},
		{"kdbus_bloom_filter", BloomFilter{1, []byte{2, 0, 0, 0, 0, 0, 0, 0}}.append(nil), []at{
			{0, 8, 32}, {8, 8, 8}, {16, 8, 1}, {24, 1, 2},
		}},
		{"kdbus_bloom_parameter", BloomParameter{64, 8}.AppendItem(nil), []at{
			{0, 8, 32}, {8, 8, 7}, {16, 8, 64}, {24, 8, 8},
		}},
		{"kdbus_info", (&Info{ID: 2, Flags: 3, BusName: "0-x"}).Append(nil), []at{
			{0, 8, 48}, {8, 8, 2}, {16, 8, 3}, {24, 8, 20}, {32, 8, 11}, {40, 1, '0'},
		}},
		{"timestamp, creds, pids", metadata.Append(nil, AttachTimestamp|AttachCreds|AttachPIDs), []at{
			{0, 8, 40}, {8, 8, 0x1000}, {16, 8, 1}, {24, 8, 2}, {32, 8, 3},
			{40, 8, 80}, {48, 8, 0x1001}, {56, 8, 4}, {64, 8, 5}, {72, 8, 6}, {80, 8, 7}, {88, 8, 8}, {96, 8, 9},
			{104, 8, 10}, {112, 8, 11},
			{120, 8, 40}, {128, 8, 0x1002}, {136, 8, 12}, {144, 8, 13}, {152, 8, 14},
		}},
		{"groups, names, cmdline", metadata.Append(nil, AttachAuxGroups|AttachNames|AttachCmdline), []at{
			{0, 8, 32}, {8, 8, 0x1003}, {16, 8, 15}, {24, 8, 16},
			{32, 8, 28}, {40, 8, 0x1004}, {48, 8, 17}, {56, 1, 'a'},
			{64, 8, 20}, {72, 8, 0x1008}, {80, 1, 'a'}, {81, 1, 0}, {82, 1, 'b'}, {83, 1, 0},
		}},
		{"caps, audit", metadata.Append(nil, AttachCaps|AttachAudit), []at{
			{0, 8, 52}, {8, 8, 0x100a}, {16, 4, 40}, {20, 4, 0x12}, {24, 4, 1}, {28, 4, 0x13}, {32, 4, 1},
			{36, 4, 0x14}, {40, 4, 1}, {44, 4, 0x15}, {48, 4, 1}, {52, 4, 0},
			{56, 8, 24}, {64, 8, 0x100c}, {72, 4, 22}, {76, 4, 23},
		}},
	} {
		if size := int(u64(c.bytes, 0)); c.name[:5] == "kdbus" && align8(size) != len(c.bytes) {
			t.Errorf("%s: size %d, but %d bytes", c.name, size, len(c.bytes))
		}
		for _, want := range c.want {
			if got := number(c.bytes[want.offset:], want.size); got != want.value {
				t.Errorf("%s: at %d: %#x, want %#x", c.name, want.offset, got, want.value)
			}
		}
	}
}

func number(b []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(b[0])
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return binary.NativeEndian.Uint64(b)
}
