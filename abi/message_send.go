package abi

import "syscall"

// DecodeSent reads a message that a client sends, from all of its bytes, and
// judges it together with the flags of its [Send]: kdbus.message(7), "Sending
// messages" and "Return value". Left to the caller are SrcID, the size of the
// bloom filter (EDOM), what the descriptors are, and the quotas.
//
// It does not allocate once the slices of m have grown, but on an error or for a
// message that negotiates.
func (m *Message) DecodeSent(b []byte, flags SendFlags) error {
	items, _, probe, err := sentMessageShape.open(b)
	if err != nil {
		return err
	}
	m.reset(b)
	m.Negotiate.Probe = probe
	if probe {
		m.Negotiate = onlyNegotiation(items, probe)
		return nil
	}
	if f := m.checkHeader(flags); f.errno != 0 {
		return f.at(sentMessageShape.name, offFlags, 0)
	}
	hasFDs := false
	for rest := items; len(rest) > 0; {
		it, next, _ := rest.next() // open judged the items
		m.readItem(it)
		if it.Type == ItemFDs {
			hasFDs = true
		}
		if f := m.checkSentItem(it); f.errno != 0 {
			return f.at(sentMessageShape.name, len(b)-len(rest), it.Type)
		}
		rest = next
	}
	if err := m.checkSums(); err != nil {
		return err
	}
	return m.checkAddress(hasFDs)
}

// checkHeader judges what the fixed fields say together.
func (m *Message) checkHeader(flags SendFlags) fault {
	if m.PayloadType == PayloadKernel {
		return invalid("payload type KERNEL is the bus's")
	}
	expect, signal := m.Flags&MsgExpectReply != 0, m.Flags&MsgSignal != 0
	if m.DstID == DstIDBroadcast {
		if !signal {
			return fault{syscall.EBADMSG, "a broadcast that is no signal"}
		}
		if m.TimeoutNS|m.CookieReply != 0 {
			return fault{syscall.ENOTUNIQ, "a broadcast with a timeout"}
		}
	}
	switch {
	case expect && m.TimeoutNS == 0:
		return invalid("a reply is expected, but there is no timeout")
	case expect && signal:
		return fault{syscall.ENOTUNIQ, "a reply to a signal is expected"}
	case expect && m.Cookie == 0:
		return invalid("a reply is expected, but there is no cookie")
	case !expect && flags&SendSyncReply != 0:
		return invalid("SYNC_REPLY, but no reply is expected")
	case !expect && signal && m.CookieReply != 0:
		return invalid("a reply that is a signal")
	}
	return fault{}
}

// checkSentItem judges what the type of an item alone does not tell.
func (m *Message) checkSentItem(it Item) fault {
	switch it.Type {
	case ItemPayloadMemfd:
		p := m.Payload[len(m.Payload)-1]
		if p.FD < 0 {
			return fault{syscall.EBADF, "no descriptor"}
		}
		if p.Offset+p.Size < p.Offset {
			return fault{syscall.EMSGSIZE, "offset and size are too large"}
		}
	case ItemFDs:
		if len(m.FDs) > MsgMaxFDs {
			return fault{syscall.EMFILE, "more than 253 descriptors"}
		}
		for _, fd := range m.FDs {
			if fd < 0 {
				return fault{syscall.EBADF, "no descriptor"}
			}
		}
	case ItemBloomFilter:
		switch size := len(m.Bloom.Data); {
		case size%8 != 0:
			return fault{syscall.EFAULT, "size is not a multiple of 8"}
		case size == 0 || size > BusBloomMaxSize:
			return fault{syscall.EDOM, "size is that of no bus's filter"}
		}
	case ItemDstName:
		if f := checkName(m.DstName, false); f.errno != 0 {
			return f
		}
		if m.DstID == DstIDBroadcast {
			return fault{syscall.EBADMSG, "a broadcast to a name"}
		}
	case ItemNegotiate:
		return invalid("not in a message that is to be sent")
	}
	return fault{}
}

// checkSums judges the payload as a whole.
func (m *Message) checkSums() error {
	memfds, vecs := 0, uint64(0)
	for i := range m.Payload {
		switch p := &m.Payload[i]; p.Type {
		case ItemPayloadMemfd:
			memfds++
		case ItemPayloadVec:
			if p.Size > MsgMaxPayloadVecSize || vecs+p.Size > MsgMaxPayloadVecSize {
				return fault{syscall.EMSGSIZE, "payload vectors of more than 2 MiB"}.
					at(sentMessageShape.name, sizeMessage, p.Type)
			}
			vecs += p.Size
		}
	}
	if memfds > MsgMaxMemfdItems {
		return fault{syscall.E2BIG, "more than 16 memfds"}.at(sentMessageShape.name, sizeMessage, ItemPayloadMemfd)
	}
	return nil
}

// checkAddress judges whether what must, or must not, come with this destination
// is there.
func (m *Message) checkAddress(hasFDs bool) error {
	var f fault
	item := ItemType(0)
	switch bloom := m.Bloom.Data != nil; {
	case bloom != (m.Flags&MsgSignal != 0):
		f, item = fault{syscall.EBADMSG, "a signal has it, and nothing else"}, ItemBloomFilter
	case m.DstID == DstIDName && m.DstName == "":
		f, item = fault{syscall.EDESTADDRREQ, "neither a destination nor its name"}, ItemDstName
	case m.DstID == DstIDBroadcast && hasFDs:
		f, item = fault{syscall.ENOTUNIQ, "a broadcast with descriptors"}, ItemFDs
	default:
		return nil
	}
	return f.at(sentMessageShape.name, offFlags, item)
}
