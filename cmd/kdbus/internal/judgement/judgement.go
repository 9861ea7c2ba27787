// Package judgement answers what the policy of a message bus says to a question, and why: which rules
// match, which one decides, which ones would match if another did not make them void, and for what
// was left open in the question, when the answer would be another one.
package judgement

import (
	"slices"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Peer is somebody on a bus.
type Peer struct {
	UID       uint32
	Name      string   // of the user; "" if it is not known
	Groups    []uint32 // all of them
	AtConsole bool
}

// Question is what is asked.
type Question struct {
	// Kind is Own, Connect, or what is done with a message.
	Kind busconfig.Kind
	// Peer asks for a name or wants to connect.
	Peer *Peer
	// Owner is the user that the bus runs as, who may connect if nothing else is said.
	Owner uint32
	// Name is the one to own.
	Name string

	// The rest is about a message. Sender and Receiver are the peers whose rules are asked; nil for one that is
	// not known or has no rules, as the bus itself.
	Sender, Receiver *Peer
	Message          Message
}

// Message is a message of which not everything need be known.
type Message struct {
	Type wire.Type
	// The fields are nil if nothing is known about them, and empty if the message does not have them.
	Path, Interface, Member, ErrorName *string
	// Destination and Sender are the names of the peers at both ends; nil if they are not known.
	Destination, Sender             []string
	Requested, Broadcast, Overheard bool
	Descriptors                     uint32
}

// Judgement is what the policy says of one peer.
type Judgement struct {
	Kind    busconfig.Kind
	Peer    *Peer
	Verdict busconfig.Verdict
	// Matched are the rules that match, in the order of evaluation: the last one decides.
	Matched []*busconfig.Rule
	// Void are those that would match before them, but By makes them void.
	Void []*busconfig.Rule
	By   *busconfig.Rule
	// Exceptions say when it would be otherwise.
	Exceptions []Exception
}

// Exception is what the policy says when more is known of a message.
type Exception struct {
	Fields []Field
	Rule   *busconfig.Rule // which decides then
}

// Field is a part of a message: its name as in match rules, and its value.
type Field struct{ Name, Value string }

// Allowed tells whether all judgements allow what was asked.
func Allowed(all []Judgement) bool {
	return !slices.ContainsFunc(all, func(j Judgement) bool { return !j.Verdict.Allowed })
}

// Of returns what a policy says to a question: of a message first that of the sender, then that of the
// receiver, as far as they are given.
func Of(p *busconfig.Policy, q *Question) []Judgement {
	switch q.Kind {
	case busconfig.Connect:
		return []Judgement{{Kind: q.Kind, Peer: q.Peer, Verdict: p.MayConnect(q.Peer.UID, q.Peer.Groups, q.Owner),
			Matched: p.ConnectRules(q.Peer.UID, q.Peer.Groups)}}
	case busconfig.Own:
		v := q.Peer.view(p)
		j := Judgement{Kind: q.Kind, Peer: q.Peer, Verdict: v.MayOwn(q.Name), Matched: v.OwnRules(q.Name)}
		j.explainVoid(v, func(r *busconfig.Rule) bool { return r.MatchesName(q.Name) })
		return []Judgement{j}
	}
	var all []Judgement
	if q.Sender != nil {
		all = append(all, judge(q.Sender.view(p), busconfig.Send, q.Sender, &q.Message))
	}
	if q.Receiver != nil {
		all = append(all, judge(q.Receiver.view(p), busconfig.Receive, q.Receiver, &q.Message))
	}
	return all
}

func (peer *Peer) view(p *busconfig.Policy) *busconfig.View {
	return p.For(peer.UID, peer.Groups, peer.AtConsole)
}

func judge(v *busconfig.View, kind busconfig.Kind, peer *Peer, known *Message) Judgement {
	m := known.complete(nil)
	j := Judgement{Kind: kind, Peer: peer, Verdict: verdict(v, kind, m), Matched: v.SendRules(m)}
	if kind == busconfig.Receive {
		j.Matched = v.ReceiveRules(m)
	}
	j.explainVoid(v, func(r *busconfig.Rule) bool { return r.MatchesMessage(m) })
	j.findExceptions(v, known)
	return j
}

func verdict(v *busconfig.View, kind busconfig.Kind, m *busconfig.Message) busconfig.Verdict {
	if kind == busconfig.Send {
		return v.MaySend(m)
	}
	return v.MayReceive(m)
}

// explainVoid finds the rules that would match if they were not void.
func (j *Judgement) explainVoid(v *busconfig.View, matches func(*busconfig.Rule) bool) {
	effect, void := v.Rules(j.Kind)
	for _, r := range void {
		if matches(r) {
			j.Void = append(j.Void, r)
			j.By = effect[0]
		}
	}
}

// findExceptions tries what each rule is about in place of what is not known.
func (j *Judgement) findExceptions(v *busconfig.View, known *Message) {
	effect, _ := v.Rules(j.Kind)
	for _, r := range effect {
		m := known.complete(r)
		fields := known.added(m)
		if len(fields) == 0 || verdict(v, j.Kind, m).Rule != r {
			continue
		}
		// One that decides as usual is an exception from an exception before it, or none.
		if r.Allow == j.Verdict.Allowed && !slices.ContainsFunc(j.Exceptions, func(e Exception) bool {
			return e.Rule.Allow != r.Allow && e.Rule.MatchesMessage(m)
		}) {
			continue
		}
		j.Exceptions = append(j.Exceptions, Exception{fields, r})
	}
}

// anything is what an unknown field has: no rule asks for it, for it is not valid.
const anything = "\x00"

// complete makes a message of what is known. What is not, is as r wants it, or else something that
// no rule asks for.
func (k *Message) complete(r *busconfig.Rule) *busconfig.Message {
	isReply := k.Type == wire.TypeMethodReturn || k.Type == wire.TypeError
	field := func(known *string, name string, belongs bool) string {
		switch {
		case known != nil:
			return *known
		case !belongs:
			return ""
		}
		return wanted(r, anything, name)
	}
	peer := func(known []string, names ...string) *busconfig.Names {
		if known != nil {
			return busconfig.NewNames(known...)
		}
		if name := wanted(r, "", names...); name != "" {
			return busconfig.NewNames(name)
		}
		return nil
	}
	return &busconfig.Message{
		Type:      k.Type,
		Path:      field(k.Path, "path", !isReply),
		Interface: field(k.Interface, "interface", !isReply),
		Member:    field(k.Member, "member", !isReply),
		ErrorName: field(k.ErrorName, "error", k.Type == wire.TypeError),
		Reply:     isReply || k.Requested, Requested: k.Requested,
		Broadcast: k.Broadcast, Eavesdropping: k.Overheard, Descriptors: k.Descriptors,
		Destination: peer(k.Destination, "destination", "destination_prefix"),
		Sender:      peer(k.Sender, "sender"),
	}
}

// wanted is what r, if there is one, wants for one of the attributes, which are without send_ or receive_.
func wanted(r *busconfig.Rule, otherwise string, attributes ...string) string {
	if r == nil {
		return otherwise
	}
	for _, name := range attributes {
		if value, ok := r.Attribute(r.Kind.String() + "_" + name); ok && value != "*" {
			return value
		}
	}
	return otherwise
}

// added are the fields of m that were not known.
func (k *Message) added(m *busconfig.Message) (all []Field) {
	add := func(known bool, name, value string) {
		if !known && value != "" && value != anything {
			all = append(all, Field{name, value})
		}
	}
	if names := m.Destination.All(); len(names) > 0 {
		add(k.Destination != nil, "destination", names[0])
	}
	if names := m.Sender.All(); len(names) > 0 {
		add(k.Sender != nil, "sender", names[0])
	}
	add(k.Path != nil, "path", m.Path)
	add(k.Interface != nil, "interface", m.Interface)
	add(k.Member != nil, "member", m.Member)
	add(k.ErrorName != nil, "error", m.ErrorName)
	return all
}
