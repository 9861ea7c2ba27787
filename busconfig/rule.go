package busconfig

import (
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// Kind is what a rule is about.
type Kind uint8

const (
	Send    Kind = iota // which messages may be sent
	Receive             // which messages may be received
	Own                 // which names may be owned
	Connect             // who may connect: the attributes user and group
)

func (k Kind) String() string { return [...]string{"send", "receive", "own", "connect"}[k] }

// ContextKind says whom a rule concerns. They are in the order in which rules are evaluated.
type ContextKind uint8

const (
	Default      ContextKind = iota // everybody
	OfGroup                         // members of a group
	OfUser                          // a user
	AtConsole                       // users who sit at the machine
	NotAtConsole                    // users who do not
	Mandatory                       // everybody, after all others
)

// Context is whom a rule concerns: the attribute of the <policy> around it.
type Context struct {
	Kind ContextKind
	ID   uint32 // of the group or user
	Name string // the value as written
}

// String returns the tag, such as <policy user="root">.
func (c Context) String() string {
	name := [...]string{"context", "group", "user", "at_console", "at_console", "context"}[c.Kind]
	return "<policy " + name + "=" + quote(c.Name) + ">"
}

// Rule is one <allow> or <deny>.
type Rule struct {
	Source
	Kind    Kind
	Allow   bool
	Log     bool // the attribute log: a message that is sent because of the rule is to be logged
	Context Context

	text string // the tag
	// wants are the header fields that a message is compared with. A rule of the kind Own has its name in
	// peer, one of the kind Connect the number in id.
	wants                                wants
	peer, path, iface, member, errorName string
	group                                bool // id is of a group
	id                                   uint32
	condition                            condition
}

// String returns the tag, such as <deny own="*"/>, with the attributes as written.
func (r *Rule) String() string { return r.text }

// wants is a set of what a rule compares.
type wants uint8

const (
	wantsPath wants = 1 << iota
	wantsInterface
	wantsMember
	wantsError
	wantsPeer   // destination, sender, or the name to own
	wantsPrefix // the beginning of it
	wantsID     // user or group
	wantsHeader // anything of the header: missing in messages that are none of D-Bus
)

// wantsFields are the ones whose header field a message may lack.
const wantsFields = wantsPath | wantsInterface | wantsMember | wantsError

// condition is what else has to be true of a message for a rule to match. The zero value needs a
// maxFDs.
type condition struct {
	messageType    wire.Type // 0 for any
	broadcast      trilean
	requested      trilean // of a reply: whether somebody waits for it. Other messages always pass
	eavesdropping  trilean
	minFDs, maxFDs uint32
}

// trilean is whether something has to be true, has to be false, or does not matter.
type trilean uint8

const (
	either trilean = iota
	mustBe
	mustNotBe
)

func (t trilean) allows(v bool) bool { return t == either || (t == mustBe) == v }

// covers tells whether everything that o allows t allows too.
func (t trilean) covers(o trilean) bool { return t == either || t == o }

// holds tells whether m fulfils the condition.
func (c *condition) holds(m *Message) bool {
	return (c.messageType == 0 || c.messageType == m.Type) &&
		c.broadcast.allows(m.Broadcast) &&
		(!m.Reply || c.requested.allows(m.Requested)) &&
		c.eavesdropping.allows(m.Eavesdropping) &&
		c.minFDs <= m.Descriptors && m.Descriptors <= c.maxFDs
}

// covers tells whether c holds for every message for which o does.
func (c *condition) covers(o *condition) bool {
	return (c.messageType == 0 || c.messageType == o.messageType) &&
		c.broadcast.covers(o.broadcast) && c.requested.covers(o.requested) && c.eavesdropping.covers(o.eavesdropping) &&
		c.minFDs <= o.minFDs && o.maxFDs <= c.maxFDs
}

// voids tells whether r makes all rules of its kind before it void. To dbus-daemon it does if it names
// nothing that it compares, whatever else it demands.
func (r *Rule) voids() bool {
	return r.wants == 0 && (r.Kind == Own || r.condition.messageType == 0)
}

// careless tells whether r voids rules although it leaves messages to them.
func (r *Rule) careless() bool {
	c := &r.condition
	return r.Kind != Own && r.voids() && (c.broadcast != either || c.minFDs > 0 || c.maxFDs < anyNumber || c.eavesdropping == mustBe)
}

// anyNumber of descriptors is the maxFDs of a rule that does not mind.
const anyNumber = 1<<32 - 1

// wantsOf are the fields that r compares with those of a message that lacks the fields absent, and
// whether r can match it at all. A rule matches if it wants a field that is not there, except that
// what is allowed for an interface is not allowed without one, nor what is allowed for any field
// if there is no header.
func (r *Rule) wantsOf(absent wants) (wants, bool) {
	if r.Allow && (r.wants&absent&wantsInterface != 0 || absent&wantsHeader != 0 && r.wants&wantsFields != 0) {
		return 0, false
	}
	return r.wants &^ absent, true
}

// matches compares r, which is of the kind Send or Receive, with m.
func (r *Rule) matches(m *Message) bool {
	w, possible := r.wantsOf(m.absent())
	if !possible ||
		w&wantsPath != 0 && r.path != m.Path ||
		w&wantsInterface != 0 && r.iface != m.Interface ||
		w&wantsMember != 0 && r.member != m.Member ||
		w&wantsError != 0 && r.errorName != m.ErrorName {
		return false
	}
	if w&wantsPeer != 0 && !m.peer(r.Kind).has(r.peer, w&wantsPrefix != 0) {
		return false
	}
	return r.condition.holds(m)
}

// matchesName compares r, which is of the kind Own, with the name that somebody wants.
func (r *Rule) matchesName(name string) bool {
	switch {
	case r.wants&wantsPrefix != 0:
		return within(name, r.peer)
	case r.wants&wantsPeer != 0:
		return name == r.peer
	}
	return true
}

// within tells whether name is prefix or goes on with a dot after it.
func within(name, prefix string) bool {
	return prefix != "" && strings.HasPrefix(name, prefix) && (len(name) == len(prefix) || name[len(prefix)] == '.')
}

var quoter = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;")

func quote(s string) string { return `"` + quoter.Replace(s) + `"` }
