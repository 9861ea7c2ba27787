package transport

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/meta"
)

// Who a peer is, and who sent what came from it, as the kernel has it.

// Creds returns who connected: pid, effective user and group, at that time.
func (p *Peer) Creds() meta.Creds { return p.creds }

// Known reports whether the peer is who Creds says: false for one that authenticated as nobody in
// particular.
func (p *Peer) Known() bool { return p.known }

// The following ask the kernel about the peer's socket, which is possible while the peer is
// connected, and local. They are safe for concurrent use.

// Groups returns the primary and the supplementary groups that the peer had when it connected.
func (p *Peer) Groups() (groups []uint32, ok bool) {
	if p.remote != nil || !p.acquire() {
		return nil, false
	}
	defer p.release()
	groups, err := meta.Socket(p.fd).Groups()
	if err != nil {
		return nil, false
	}
	if slices.Contains(groups, p.creds.GID) {
		return groups, true
	}
	return append([]uint32{p.creds.GID}, groups...), true
}

// SecurityLabel returns what the security module calls the peer, or "".
func (p *Peer) SecurityLabel() string {
	if p.remote != nil || !p.acquire() {
		return ""
	}
	defer p.release()
	label, err := meta.Socket(p.fd).SecurityLabel()
	if err != nil {
		return ""
	}
	return label
}

// PIDFD returns a new pidfd of the peer's process, which is the caller's.
func (p *Peer) PIDFD() (fd int, ok bool) {
	if p.remote != nil || !p.acquire() {
		return -1, false
	}
	defer p.release()
	fd, err := meta.Socket(p.fd).PIDFD()
	return fd, err == nil
}

// ConnectData returns what can be known of the process that connected. It is for the Protocol, in
// Frame.
func (p *Peer) ConnectData(want meta.Kinds) meta.Data {
	if want&meta.KindCmdline != 0 {
		p.TakeLong()
	}
	return p.connectData(want)
}

// connectData is ConnectData for whoever wants to know. The process can make the caller wait if
// that wants [meta.KindCmdline], see package meta.
func (p *Peer) connectData(want meta.Kinds) meta.Data {
	if p.remote != nil || !p.acquire() {
		return meta.Data{}
	}
	defer p.release()
	look := p.beginLook(want)
	data, err := meta.Socket(p.fd).Collect(look)
	p.endLook(look)
	if err != nil {
		return meta.Data{}
	}
	return data
}

// sender is who sent the bytes of the present batch.
type sender struct {
	wanted  atomic.Uint64 // meta.Kinds that somebody may want to know
	passing sync.Mutex    // guards asking the kernel for it
	asked   bool          // the kernel is asked

	now   meta.Sender // of the last read
	mixed bool        // the frame at hand came in several reads, of different senders
	begun bool        // the frame at hand began in an earlier read

	collected meta.Kinds // what was tried, for this batch
	data      meta.Data
}

// took notes who sent what was just read. partial tells that it continues a frame.
func (s *sender) took(from meta.Sender, partial bool) {
	if !from.Known && !s.now.Known {
		s.mixed, s.begun = false, partial
		return
	}
	s.mixed = partial && (s.mixed && s.begun || from.Known != s.now.Known || from.Creds != s.now.Creds)
	s.begun = partial
	s.now.Close()
	s.now = from
	s.collected, s.data = 0, meta.Data{}
}

// next notes that the frame at hand was handled.
func (s *sender) next() { s.mixed, s.begun = false, false }

// forget closes what is open.
func (s *sender) forget() {
	s.now.Close()
	s.now = meta.Sender{}
}

// done ends a batch. Who sent the beginning of a frame that has not arrived in full is remembered
// by its credentials.
func (s *sender) done() { s.now.Close() }

// Collect returns what can be known of the process that sent the frame at hand, of the kinds in want
// that were asked for before it was sent. It is for the Protocol, in Frame. Frames of one batch have
// the same sender, who is looked at once.
func (p *Peer) Collect(want meta.Kinds) meta.Data {
	s := &p.sender
	want &= meta.ProcessKinds
	if want == 0 || !s.now.Known || s.mixed {
		return meta.Data{}
	}
	if want&^s.collected != 0 {
		s.collected |= want
		if s.collected&meta.KindCmdline != 0 {
			p.TakeLong()
		}
		look := p.beginLook(s.collected)
		s.data = s.now.Collect(look)
		p.endLook(look)
	}
	return s.data
}

// maxLooks is how many goroutines may look at processes of one user at a time in a way that such a
// process can make last: each takes a thread, of which there are not more than 10,000. So many are
// there by chance only if most of them wait.
var maxLooks = max(16, 4*runtime.NumCPU())

// beginLook returns what may be looked at of want now, for endLook.
func (p *Peer) beginLook(want meta.Kinds) meta.Kinds {
	if want&meta.KindCmdline == 0 {
		return want
	}
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.accountOf(p.creds.UID)
	if s.looks[who] >= maxLooks {
		return want &^ meta.KindCmdline
	}
	s.looks[who]++
	return want
}

func (p *Peer) endLook(look meta.Kinds) {
	if look&meta.KindCmdline == 0 {
		return
	}
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.accountOf(p.creds.UID)
	if s.looks[who]--; s.looks[who] == 0 {
		delete(s.looks, who)
	}
}

// Wanted implements bus.Receiver: it begins to ask the kernel who sends. It does not cease to, as who
// changes what it wants all the time would then keep the bus busy with the sockets of all others.
func (p *Peer) Wanted(kinds meta.Kinds) {
	s := &p.sender
	s.passing.Lock()
	defer s.passing.Unlock()
	kinds &= meta.ProcessKinds
	s.wanted.Store(uint64(kinds))
	if kinds != 0 && !s.asked && p.remote == nil && p.acquire() {
		defer p.release()
		p.pass(true)
	}
}

// ceaseAsking is for the reader that was told who sent, although nobody wants to know any more.
func (p *Peer) ceaseAsking() {
	s := &p.sender
	s.passing.Lock()
	defer s.passing.Unlock()
	if s.asked && s.wanted.Load() == 0 {
		p.pass(false)
	}
}

// pass has the kernel tell who sends, or not. sender.passing is held.
func (p *Peer) pass(ask bool) {
	if err := meta.Socket(p.fd).SetPassing(ask); err != nil {
		p.server.blame.warn(p.server.log, p.creds.UID, "cannot learn who sends", "error", err, "name", p.name())
		return
	}
	p.sender.asked = ask
}
