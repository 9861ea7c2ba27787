package abi

// BusMake makes a bus: kdbus.bus(7), "Creating buses".
type BusMake struct {
	Flags     MakeFlags
	Negotiate Negotiation
	// Name of the bus: "<uid of its owner>-<anything>". The uid is the caller's
	// to check.
	Name  string
	Bloom BloomParameter
	// AttachFlagsSend is the metadata of its owner that the bus tells.
	AttachFlagsSend AttachFlags
	// AttachFlagsRecv is the metadata that whoever connects must be ready to
	// send (ECONNREFUSED). The kernel's last version dropped this; its manual
	// page of HELLO still has the error.
	AttachFlagsRecv AttachFlags
}

// Cmd returns CmdBusMake.
func (*BusMake) Cmd() Cmd { return CmdBusMake }

// Decode reads a request.
func (m *BusMake) Decode(b []byte) error {
	items, flags, probe, err := busMakeShape.open(b)
	if err != nil {
		return err
	}
	*m = BusMake{Flags: MakeFlags(flags), Negotiate: Negotiation{Probe: probe}}
	err = busMakeShape.each(items, func(it Item) (f fault) {
		switch it.Type {
		case ItemNegotiate:
			m.Negotiate.set(it.Data)
		case ItemMakeName:
			m.Name = text(it.Data)
		case ItemBloomParameter:
			m.Bloom = bloomParameter(it.Data)
			if !probe {
				f = m.Bloom.check()
			}
		case ItemAttachFlagsSend:
			m.AttachFlagsSend, f = AttachFlags(u64(it.Data, 0)).sanitize()
		case ItemAttachFlagsRecv:
			m.AttachFlagsRecv, f = AttachFlags(u64(it.Data, 0)).sanitize()
		}
		return f
	})
	if err != nil {
		return err
	}
	return nil
}

// Append appends the struct. Attach flags are left out where they are 0.
func (m *BusMake) Append(dst []byte) []byte {
	start := len(dst)
	dst = m.Negotiate.append(appendHead(dst, uint64(m.Flags), m.Negotiate, 0))
	if m.Name != "" {
		dst = appendStringItem(dst, ItemMakeName, m.Name)
	}
	if m.Bloom != (BloomParameter{}) {
		dst = m.Bloom.AppendItem(dst)
	}
	if m.AttachFlagsSend != 0 {
		dst = appendU64Item(dst, ItemAttachFlagsSend, uint64(m.AttachFlagsSend))
	}
	if m.AttachFlagsRecv != 0 {
		dst = appendU64Item(dst, ItemAttachFlagsRecv, uint64(m.AttachFlagsRecv))
	}
	return putSize(dst, start)
}

// EndpointMake makes a custom endpoint of a bus: kdbus.endpoint(7), "Creating
// custom endpoints".
type EndpointMake struct {
	Flags     MakeFlags
	Negotiate Negotiation
	// Name of the endpoint: "<uid of its owner>-<anything>". The uid is the
	// caller's to check.
	Name string
	// Policies of the endpoint, as in its manual page. The kernel took them by
	// ENDPOINT_UPDATE only.
	Policies []Policy
	// Report asks to be told what the endpoint does not let through: see [Refused].
	Report bool
}

// Cmd returns CmdEndpointMake.
func (*EndpointMake) Cmd() Cmd { return CmdEndpointMake }

// Decode reads a request.
func (m *EndpointMake) Decode(b []byte) error {
	items, flags, probe, err := endpointMakeShape.open(b)
	if err != nil {
		return err
	}
	*m = EndpointMake{Flags: MakeFlags(flags), Negotiate: Negotiation{Probe: probe}}
	var r policyReader
	err = endpointMakeShape.each(items, func(it Item) fault {
		switch {
		case it.Type == ItemNegotiate:
			m.Negotiate.set(it.Data)
		case it.Type == ItemMakeName:
			m.Name = text(it.Data)
		case it.Type == ItemReport:
			m.Report = true
		case !probe:
			return r.read(it)
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	m.Policies = r.policies
	return nil
}

// Append appends the struct.
func (m *EndpointMake) Append(dst []byte) []byte {
	start := len(dst)
	dst = m.Negotiate.append(appendHead(dst, uint64(m.Flags), m.Negotiate, 0))
	if m.Name != "" {
		dst = appendStringItem(dst, ItemMakeName, m.Name)
	}
	if m.Report {
		dst = appendItemHeader(dst, ItemReport, 0)
	}
	return putSize(appendPolicies(dst, m.Policies), start)
}

// EndpointUpdate replaces the policies of a custom endpoint: kdbus.endpoint(7),
// "Updating endpoints".
type EndpointUpdate struct {
	Negotiate Negotiation
	Policies  []Policy
}

// Cmd returns CmdEndpointUpdate.
func (*EndpointUpdate) Cmd() Cmd { return CmdEndpointUpdate }

// Decode reads a request.
func (m *EndpointUpdate) Decode(b []byte) error {
	items, _, probe, err := endpointUpdateShape.open(b)
	if err != nil {
		return err
	}
	*m = EndpointUpdate{Negotiate: Negotiation{Probe: probe}}
	var r policyReader
	err = endpointUpdateShape.each(items, func(it Item) fault {
		switch {
		case it.Type == ItemNegotiate:
			m.Negotiate.set(it.Data)
		case !probe:
			return r.read(it)
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	m.Policies = r.policies
	return nil
}

// Append appends the struct.
func (m *EndpointUpdate) Append(dst []byte) []byte {
	start := len(dst)
	dst = m.Negotiate.append(appendHead(dst, 0, m.Negotiate, 0))
	return putSize(appendPolicies(dst, m.Policies), start)
}

// AppendPath appends the item PATH, which follows the struct in the answers to
// BUS_MAKE and ENDPOINT_MAKE over a socket: dst is that struct, or empty.
func AppendPath(dst []byte, path string) []byte { return appendStringItem(dst, ItemPath, path) }

// AppendAddress appends the item ADDRESS, which follows PATH in the answer to ENDPOINT_MAKE.
func AppendAddress(dst []byte, addresses string) []byte {
	return appendStringItem(dst, ItemAddress, addresses)
}

// DecodePath reads the item PATH from what follows the struct in such an answer.
// Other items are skipped; where there is none, the path is empty.
func DecodePath(items []byte) (string, error) { return decodeText(items, ItemPath) }

// DecodeAddress is DecodePath for the item ADDRESS.
func DecodeAddress(items []byte) (string, error) { return decodeText(items, ItemAddress) }

func decodeText(items []byte, wanted ItemType) (string, error) {
	found := ""
	_, err := eachReceived("answer", 0, items, func(it Item) fault {
		if it.Type == wanted {
			found = text(it.Data)
		}
		return fault{}
	})
	if err != nil {
		return "", err
	}
	return found, nil
}
