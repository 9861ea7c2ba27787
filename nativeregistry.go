package kdbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// nativeBus is the registry of a native bus, which is asked by commands of kdbus. What has no
// command is called as on D-Bus 1.
type nativeBus struct {
	busObject
	mu       sync.Mutex
	cookie   uint64              // of the last match
	matches  map[string][]uint64 // cookies by rule: one may be added more than once
	watching bool                // the bus tells us when our names come and go
	directed bool                // signals to this connection alone arrive
}

// poolSize is how much may wait for a connection in the bus: as much as there can be.
const poolSize = 1 << 30

// self is who we are, after HELLO.
func (b *nativeBus) self() *identity { return b.object.conn.transport.(*frames).self.Load() }

// hello returns the HELLO of an ordinary connection.
func (d *Dialer) hello() *abi.Hello {
	h := &abi.Hello{
		Flags:           abi.HelloAcceptFD,
		AttachFlagsSend: abi.AttachAny,
		AttachFlagsRecv: d.Metadata,
		PoolSize:        poolSize,
		Description:     d.description(),
	}
	if as := d.Impersonate; as != nil {
		h.Creds, h.PIDs, h.SecLabel = as.Creds, as.PIDs, as.SecLabel
	}
	return h
}

// hello joins the bus.
func (c *Conn) hello(ctx context.Context, h *abi.Hello) error { return c.helloThen(ctx, h, nil) }

// helloThen is hello that calls joined, if not nil, before anything else that the bus sends is looked at.
func (c *Conn) helloThen(ctx context.Context, h *abi.Hello, joined func()) error {
	t := c.transport.(*frames)
	err := c.do(ctx, h, func(body []byte, err error) error {
		if err != nil {
			return err
		}
		got := new(abi.Hello)
		infos, err := infosOf(got, body, func() (uint64, uint64) { return got.Reply.Offset, got.Reply.ItemsSize })
		if err != nil {
			return err
		}
		self := &identity{id: got.Reply.ID, name: uniqueName(got.Reply.ID)}
		for item := range abi.Items(infos).All() {
			if item.Type == abi.ItemBloomParameter && len(item.Data) == 16 {
				self.bloom = abi.BloomParameter{
					Size: machineOrder.Uint64(item.Data), NHash: machineOrder.Uint64(item.Data[8:]),
				}
			}
		}
		t.self.Store(self)
		c.name = self.name
		if joined != nil {
			joined()
		}
		return nil
	})
	if err != nil && (t.self.Load() == nil || !errors.Is(err, ErrMonitor)) {
		return fmt.Errorf("say Hello: %w", err)
	}
	return nil
}

// do runs a command. The hook, if not nil, is called with what the bus has answered, by the
// goroutine that receives, before any later message is looked at; it judges whether the command
// has failed. The answer is valid during the call.
func (c *Conn) do(ctx context.Context, cmd abi.Command, hook func(answer []byte, err error) error) error {
	m := newOutgoing(wire.TypeMethodCall)
	m.header.Destination = busName
	m.command = cmd
	var result error
	reply, err := c.call(ctx, m, func(m *Message) {
		if m.header.Type == wire.TypeError {
			result = errorOf(m)
			if hook != nil {
				result = hook(nil, result)
			}
			return
		}
		if hook != nil {
			result = hook(m.body, nil)
		}
	})
	if err == nil {
		reply.discard()
		return result
	}
	if _, answered := errors.AsType[*Error](err); answered && hook != nil {
		return result
	}
	return err
}

// infosOf reads what the bus has filled in into cmd, and returns what is behind it. The command that
// was sent is not to be used for it: it belongs to who sends.
func infosOf(cmd abi.Command, answer []byte, where func() (offset, size uint64)) ([]byte, error) {
	reply, _, err := abi.CutStruct(answer, cmd.Cmd().String())
	if err == nil {
		err = cmd.(interface{ DecodeReply([]byte) error }).DecodeReply(reply)
	}
	if err != nil {
		return nil, err
	}
	offset, size := where()
	if offset > uint64(len(answer)) || size > uint64(len(answer))-offset {
		return nil, fmt.Errorf("the bus has answered %v with infos that are not there", cmd.Cmd())
	}
	return answer[offset:][:size:size], nil
}

func (b *nativeBus) requestName(ctx context.Context, name string, flags NameFlags, hook func(abi.NameFlags, error)) error {
	if err := b.watchNames(ctx); err != nil {
		return err
	}
	cmd := &abi.NameAcquire{Name: name}
	for _, f := range [...]struct {
		on   bool
		flag abi.NameFlags
	}{
		{flags&AllowReplacement != 0, abi.NameAllowReplacement},
		{flags&ReplaceExisting != 0, abi.NameReplaceExisting},
		{flags&DoNotQueue == 0, abi.NameQueue},
	} {
		if f.on {
			cmd.Flags |= f.flag
		}
	}
	return b.object.conn.do(ctx, cmd, func(answer []byte, err error) error {
		got := new(abi.NameAcquire)
		if errors.Is(err, syscall.EEXIST) {
			err = errNameExists
		} else if err == nil {
			_, err = infosOf(got, answer, nothing)
		}
		if err == nil && got.ReturnFlags&(abi.NamePrimary|abi.NameInQueue) == 0 {
			err = errNameExists // it has ceased to wait
		}
		hook(got.ReturnFlags, err)
		return err
	})
}

// errNameExists is what a native bus says of a name that another connection owns.
var errNameExists = fmt.Errorf("%w (%w)", ErrNameTaken, syscall.EEXIST)

func nothing() (offset, size uint64) { return 0, 0 }

// watchNames has the bus tell when the connection gets names and loses them, as D-Bus does unasked.
func (b *nativeBus) watchNames(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watching {
		return nil
	}
	self := b.self().id
	b.cookie++
	const anybody = abi.MatchIDAny
	for _, rule := range [...]abi.MatchRule{
		{Type: abi.ItemNameAdd, AnyName: true, OldID: anybody, NewID: self},
		{Type: abi.ItemNameRemove, AnyName: true, OldID: self, NewID: anybody},
		{Type: abi.ItemNameChange, AnyName: true, OldID: self, NewID: anybody},
		{Type: abi.ItemNameChange, AnyName: true, OldID: anybody, NewID: self},
	} {
		err := b.object.conn.do(ctx, &abi.MatchAdd{Cookie: b.cookie, Rules: []abi.MatchRule{rule}}, nil)
		if err != nil {
			return err
		}
	}
	b.watching = true
	return nil
}

func (b *nativeBus) releaseName(ctx context.Context, name string) error {
	return b.object.conn.do(ctx, &abi.NameRelease{Name: name}, func(_ []byte, err error) error {
		if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EADDRINUSE) {
			err = nil // it was not ours
		}
		return err
	})
}

func (b *nativeBus) abandonName(name string) {
	_ = b.object.conn.tell(context.Background(), &abi.NameRelease{Name: name})
}

// tell runs a command, and does not wait for it.
func (c *Conn) tell(ctx context.Context, cmd abi.Command) error {
	m := newOutgoing(wire.TypeMethodCall)
	m.command, m.quiet = cmd, true
	return c.send(ctx, m)
}

func (b *nativeBus) nameOwner(ctx context.Context, name string, hook func(string, error)) error {
	if name == busName {
		return b.busObject.nameOwner(ctx, name, hook)
	}
	cmd := &abi.ConnInfo{}
	b.address(cmd, name)
	return b.object.conn.do(ctx, cmd, func(answer []byte, err error) error {
		owner := ""
		if err == nil {
			var info abi.Info
			info, err = infoOf(answer)
			if err == nil && abi.HelloFlags(info.Flags)&abi.HelloActivator != 0 {
				err = &Error{Name: ErrNameHasNoOwner.Name, Message: "it belongs to a service that was not started"}
			}
			owner = uniqueName(info.ID)
		} else {
			err = notStarted(err)
		}
		if err != nil {
			owner = ""
		}
		hook(owner, err)
		return err
	})
}

// address makes cmd ask about the connection that has a name.
func (b *nativeBus) address(cmd *abi.ConnInfo, name string) {
	if number, ok := strings.CutPrefix(name, ":1."); ok {
		if id, err := strconv.ParseUint(number, 10, 64); err == nil && id != 0 {
			cmd.ID = id
			return
		}
	}
	cmd.Name = name
}

func infoOf(answer []byte) (info abi.Info, err error) {
	got := new(abi.ConnInfo)
	infos, err := infosOf(got, answer, func() (uint64, uint64) { return got.Offset, got.InfoSize })
	if err == nil {
		err = info.Decode(infos)
	}
	return info, err
}

func (b *nativeBus) listNames(ctx context.Context, activatable bool) (names []string, err error) {
	if activatable {
		return b.busObject.listNames(ctx, true)
	}
	entries, err := b.entries(ctx, abi.ListUnique|abi.ListNames)
	if err != nil {
		return nil, err
	}
	names = append(names, busName)
	for _, entry := range entries {
		if entry.Flags&abi.HelloActivator != 0 {
			continue
		}
		names = append(names, uniqueName(entry.ID))
		if entry.Name.Name != "" {
			names = append(names, entry.Name.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// entries runs a LIST.
func (b *nativeBus) entries(ctx context.Context, flags abi.ListFlags) (entries []abi.ListEntry, err error) {
	err = b.object.conn.do(ctx, &abi.List{Flags: flags}, func(answer []byte, err error) error {
		if err != nil {
			return err
		}
		got := new(abi.List)
		infos, err := infosOf(got, answer, func() (uint64, uint64) { return got.Offset, got.ListSize })
		if err != nil {
			return err
		}
		for entry, err := range abi.ListEntries(infos) {
			if err != nil {
				return err
			}
			entries = append(entries, entry)
		}
		return nil
	})
	return entries, err
}

func (b *nativeBus) addMatch(ctx context.Context, rule string) error {
	b.mu.Lock()
	b.cookie++
	cookie := b.cookie
	if b.matches == nil {
		b.matches = make(map[string][]uint64)
	}
	b.matches[rule] = append(b.matches[rule], cookie)
	directed := b.directed
	b.directed = true
	b.mu.Unlock()
	if !directed {
		// Signals to one peer need no rule on D-Bus; here, a match has to ask for them.
		toUs := abi.MatchRule{Type: abi.ItemDstID, ID: b.self().id}
		if err := b.object.conn.tell(ctx, &abi.MatchAdd{Rules: []abi.MatchRule{toUs}}); err != nil {
			return err
		}
	}
	err := b.object.conn.do(ctx, &abi.MatchAdd{Cookie: cookie, Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: rule}}}, nil)
	if err != nil {
		_ = b.removeMatch(context.Background(), rule)
	}
	return err
}

// removeMatch does not wait: nothing hangs on the answer.
func (b *nativeBus) removeMatch(ctx context.Context, rule string) error {
	b.mu.Lock()
	cookies := b.matches[rule]
	if len(cookies) == 0 {
		b.mu.Unlock()
		return nil
	}
	last := cookies[len(cookies)-1]
	if b.matches[rule] = cookies[:len(cookies)-1]; len(cookies) == 1 {
		delete(b.matches, rule)
	}
	b.mu.Unlock()
	return b.object.conn.tell(ctx, &abi.MatchRemove{Cookie: last})
}

// cancelCall fails, and need not be said, if the call has been answered already.
func (b *nativeBus) cancelCall(serial uint32) {
	_ = b.object.conn.tell(ended, &abi.Cancel{Tag: uint64(serial)})
}
