package abi

import "syscall"

// shape is what a command may look like: the one table that decoding, judging
// and negotiating go by.
type shape struct {
	name  string
	size  int    // of the struct without items
	flags uint64 // those it knows
	items []itemRule
}

// itemRule permits items of a type, once or as often as said. Every shape also
// permits one NEGOTIATE.
type itemRule struct {
	item ItemType
	many occurrence
}

type occurrence byte

const (
	optional  occurrence = iota // at most once
	mandatory                   // once
	repeated                    // any number
)

var (
	busMakeShape = shape{"BUS_MAKE", sizeCmd, uint64(MakeAccessGroup | MakeAccessWorld), []itemRule{
		{ItemMakeName, mandatory},
		{ItemBloomParameter, mandatory},
		{ItemAttachFlagsSend, optional},
		{ItemAttachFlagsRecv, optional},
	}}
	endpointMakeShape = shape{"ENDPOINT_MAKE", sizeCmd, uint64(MakeAccessGroup | MakeAccessWorld), []itemRule{
		{ItemMakeName, mandatory},
		{ItemName, repeated},
		{ItemPolicyAccess, repeated},
		{ItemNameSubtree, repeated},
		{ItemPolicyCall, repeated},
		{ItemPolicyBroadcast, repeated},
		{ItemReport, optional},
	}}
	endpointUpdateShape = shape{"ENDPOINT_UPDATE", sizeCmd, 0, []itemRule{
		{ItemName, repeated},
		{ItemPolicyAccess, repeated},
		{ItemNameSubtree, repeated},
		{ItemPolicyCall, repeated},
		{ItemPolicyBroadcast, repeated},
	}}
	helloShape = shape{"HELLO", sizeHello,
		uint64(HelloAcceptFD | HelloActivator | HelloPolicyHolder | HelloMonitor), []itemRule{
			{ItemName, optional},
			{ItemCreds, optional},
			{ItemPIDs, optional},
			{ItemSecLabel, optional},
			{ItemConnDescription, optional},
			{ItemPolicyAccess, repeated},
		}}
	updateShape = shape{"UPDATE", sizeCmd, 0, []itemRule{
		{ItemAttachFlagsSend, optional},
		{ItemAttachFlagsRecv, optional},
		{ItemName, repeated},
		{ItemPolicyAccess, repeated},
	}}
	byeByeShape   = shape{"BYEBYE", sizeCmd, 0, nil}
	freeShape     = shape{"FREE", sizeFree, 0, nil}
	connInfoShape = shape{"CONN_INFO", sizeCmdInfo, 0, []itemRule{
		{ItemName, optional},
	}}
	busCreatorInfoShape = shape{"BUS_CREATOR_INFO", sizeCmdInfo, 0, nil}
	listShape           = shape{"LIST", sizeList,
		uint64(ListUnique | ListNames | ListActivators | ListQueued), nil}
	sendShape = shape{"SEND", sizeSend, uint64(SendSyncReply), []itemRule{
		{ItemCancelFD, optional},
	}}
	sentMessageShape = shape{"message", sizeMessage, uint64(MsgExpectReply | MsgNoAutoStart | MsgSignal), []itemRule{
		{ItemPayloadVec, repeated},
		{ItemPayloadMemfd, repeated},
		{ItemFDs, optional},
		{ItemBloomFilter, optional},
		{ItemDstName, optional},
	}}
	recvShape        = shape{"RECV", sizeRecv, uint64(RecvPeek | RecvDrop | RecvUsePriority), nil}
	nameAcquireShape = shape{"NAME_ACQUIRE", sizeCmd,
		uint64(NameReplaceExisting | NameAllowReplacement | NameQueue), []itemRule{
			{ItemName, mandatory},
		}}
	nameReleaseShape = shape{"NAME_RELEASE", sizeCmd, 0, []itemRule{
		{ItemName, mandatory},
	}}
	matchAddShape = shape{"MATCH_ADD", sizeMatch, uint64(MatchReplace), []itemRule{
		{ItemBloomMask, repeated},
		{ItemName, repeated},
		{ItemID, repeated},
		{ItemDstID, repeated},
		{ItemNameAdd, repeated},
		{ItemNameRemove, repeated},
		{ItemNameChange, repeated},
		{ItemIDAdd, repeated},
		{ItemIDRemove, repeated},
		{ItemMatchRule, repeated},
	}}
	matchRemoveShape = shape{"MATCH_REMOVE", sizeMatch, 0, nil}
)

func (c Cmd) shape() *shape {
	switch c {
	case CmdSend:
		return &sendShape
	case CmdRecv:
		return &recvShape
	case CmdFree:
		return &freeShape
	case CmdBusMake:
		return &busMakeShape
	case CmdEndpointMake:
		return &endpointMakeShape
	case CmdEndpointUpdate:
		return &endpointUpdateShape
	case CmdHello:
		return &helloShape
	case CmdUpdate:
		return &updateShape
	case CmdByeBye:
		return &byeByeShape
	case CmdConnInfo:
		return &connInfoShape
	case CmdBusCreatorInfo:
		return &busCreatorInfoShape
	case CmdList:
		return &listShape
	case CmdNameAcquire:
		return &nameAcquireShape
	case CmdNameRelease:
		return &nameReleaseShape
	case CmdMatchAdd:
		return &matchAddShape
	case CmdMatchRemove:
		return &matchRemoveShape
	case CmdCancel:
		return &cancelShape
	}
	return nil
}

// rule returns the place of an item type in s.items; NEGOTIATE has the one
// behind them. It is -1 if s does not know the type.
func (s *shape) rule(t ItemType) int {
	if t == ItemNegotiate {
		return len(s.items)
	}
	for i := range s.items {
		if s.items[i].item == t {
			return i
		}
	}
	return -1
}

// commandSize reads and judges the size of a struct from its beginning.
func (s *shape) commandSize(head []byte) (int, fault) {
	if len(head) < 8 {
		return 0, invalid("too short for its size")
	}
	size := u64(head, offSize)
	if size < uint64(s.size) {
		return 0, invalid("size is less than that of the struct")
	}
	if size > CmdMaxSize {
		return 0, fault{syscall.EMSGSIZE, "size is more than 32 KiB"}
	}
	return int(size), fault{}
}

// open judges a request as far as the shape does, and returns its items, each of
// which is valid in itself, and its flags without FlagNegotiate.
func (s *shape) open(b []byte) (items Items, flags uint64, probe bool, err *Error) {
	size, f := s.commandSize(b)
	if f.errno == 0 && size != len(b) {
		f = invalid("size is not that of the bytes given")
	}
	if f.errno != 0 {
		return nil, 0, false, f.at(s.name, offSize, 0)
	}
	flags = u64(b, offFlags)
	probe = flags&FlagNegotiate != 0
	flags &^= FlagNegotiate
	if flags&^s.flags != 0 {
		return nil, 0, false, s.fail(offFlags, "unknown flags")
	}
	items = b[s.size:]
	seen, err := s.openItems(items)
	if err != nil || probe {
		return items, flags, probe, err
	}
	for i, r := range s.items {
		if r.many == mandatory && seen&(1<<i) == 0 {
			return nil, 0, false, s.missing().at(s.name, len(b), r.item)
		}
	}
	return items, flags, false, nil
}

// openItems judges the items one by one, and returns which there are: bit n for
// s.items[n].
func (s *shape) openItems(items Items) (seen uint32, err *Error) {
	for rest := items; len(rest) > 0; {
		offset := s.size + len(items) - len(rest)
		it, next, f := rest.next()
		if f.errno != 0 {
			return 0, f.at(s.name, offset, it.Type)
		}
		i := s.rule(it.Type)
		if i < 0 {
			return 0, invalid("not an item of this command").at(s.name, offset, it.Type)
		}
		if f := it.check(); f.errno != 0 {
			return 0, f.at(s.name, offset, it.Type)
		}
		if seen&(1<<i) != 0 && (i == len(s.items) || s.items[i].many != repeated) {
			return 0, s.twice(it.Type).at(s.name, offset, it.Type)
		}
		seen |= 1 << i
		rest = next
	}
	return seen, nil
}

// missing is the fault of a command without one of its mandatory items: EINVAL, but for BUS_MAKE by its
// manual page.
func (s *shape) missing() fault {
	if s == &busMakeShape {
		return fault{syscall.EBADMSG, "missing"}
	}
	return invalid("missing")
}

// twice is the fault of an item that may occur once: EINVAL, but for those of a message by the manual
// page of SEND.
func (s *shape) twice(t ItemType) fault {
	if s == &sentMessageShape && t != ItemNegotiate {
		return fault{syscall.EEXIST, "occurs twice"}
	}
	return invalid("occurs twice")
}

// each hands items that were judged to read, and says where a fault lies.
func (s *shape) each(items Items, read func(Item) fault) *Error {
	for rest := items; len(rest) > 0; {
		offset := s.size + len(items) - len(rest)
		it, next, f := rest.next()
		if f.errno == 0 {
			f = read(it)
		}
		if f.errno != 0 {
			return f.at(s.name, offset, it.Type)
		}
		rest = next
	}
	return nil
}

// openReply judges the sizes of a struct that the bus filled in, and returns its
// items.
func (s *shape) openReply(b []byte) (Items, *Error) {
	size, f := s.commandSize(b)
	if f.errno == 0 && size != len(b) {
		f = invalid("size is not that of the bytes given")
	}
	if f.errno != 0 {
		return nil, f.at(s.name+" reply", offSize, 0)
	}
	return b[s.size:], nil
}

func (s *shape) fail(offset int, reason string) *Error { return invalid(reason).at(s.name, offset, 0) }

// appendHead appends the first fields of a command; putSize is to follow when all
// is there.
func appendHead(dst []byte, flags uint64, n Negotiation, returnFlags uint64) []byte {
	if n.Probe {
		flags |= FlagNegotiate
	}
	dst = appendU64(dst, 0)
	dst = appendU64(dst, flags)
	return appendU64(dst, returnFlags)
}

// putSize writes the size of the struct that begins at start.
func putSize(dst []byte, start int) []byte {
	putU64(dst, start+offSize, uint64(len(dst)-start))
	return dst
}
