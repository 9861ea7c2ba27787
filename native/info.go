package native

import (
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// list returns connections and names: kdbus.name(7), "Dumping the name registry".
func (c *conn) list(r *request, l *abi.List) error {
	for _, e := range c.bus.List(bus.ListFlags(l.Flags)) {
		r.infos = abi.ListEntry{
			ID:    uint64(e.ID),
			Flags: abi.HelloFlags(e.ConnFlags),
			Name:  abi.OwnedName{Name: e.Name, Flags: abi.NameFlags(e.NameFlags)},
		}.Append(r.infos)
	}
	l.Offset, l.ListSize = r.infosAt(), uint64(len(r.infos))
	l.PutReply(r.cmd)
	return nil
}

// connInfo tells about a connection: kdbus.connection(7), "Retrieving information on a connection".
func (c *conn) connInfo(r *request, i *abi.ConnInfo) error {
	found, err := c.bus.Inspect(bus.ID(i.ID), i.Name)
	if err != nil {
		return err
	}
	data := found.InfoFor(c.bus, kindsOf(i.AttachFlags))
	info := abi.Info{ID: uint64(found.ID()), Flags: uint64(found.Flags()), Metadata: metadataOf(&data)}
	r.infos = info.Append(nil)
	i.Offset, i.InfoSize = r.infosAt(), uint64(len(r.infos))
	i.PutReply(r.cmd)
	return nil
}

// busCreatorInfo tells about the bus: kdbus.connection(7), "Retrieving information about a
// connection's bus creator".
func (c *conn) busCreatorInfo(r *request, i *abi.BusCreatorInfo) error {
	b := c.bus.Bus()
	creator, flags := b.Creator()
	info := abi.Info{Flags: flags, BusName: b.Name()}
	if creator != nil {
		data := *creator
		data.Has &= kindsOf(i.AttachFlags)
		if tells := c.server.config.Tells; tells != nil {
			data.Has &= *tells
		}
		info.Metadata = metadataOf(&data)
	}
	r.infos = info.Append(nil)
	i.Offset, i.InfoSize = r.infosAt(), uint64(len(r.infos))
	i.PutReply(r.cmd)
	return nil
}
