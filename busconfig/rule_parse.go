package busconfig

import (
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// The attributes of <allow> and <deny>, in the order in which they are judged.

var (
	sendAttributes = []string{
		"send_destination", "send_destination_prefix", "send_broadcast", "send_path", "send_type",
		"send_interface", "send_member", "send_error", "send_requested_reply",
	}
	receiveAttributes = []string{
		"receive_sender", "receive_path", "receive_type", "receive_interface", "receive_member",
		"receive_error", "receive_requested_reply",
	}
	messageAttributes = []string{"eavesdrop", "min_fds", "max_fds"}
	otherAttributes   = []string{"own", "own_prefix", "user", "group"}
	ruleAttributes    = concat(sendAttributes, receiveAttributes, messageAttributes, otherAttributes, []string{"log"})
)

func concat(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// rule reads an <allow> or a <deny>.
func (p *parser) rule(e element) error {
	if err := p.checkCombination(e); err != nil {
		return err
	}
	r := &Rule{
		Source: p.at(e), Allow: e.name == "allow", Context: p.context, text: e.tag(),
		condition: condition{maxFDs: anyNumber},
	}
	r.Kind = e.ruleKind()
	known, err := true, error(nil)
	switch r.Kind {
	case Send:
		err = p.messageRule(e, r, "send_")
	case Receive:
		err = p.messageRule(e, r, "receive_")
	case Own:
		p.ownRule(e, r)
	case Connect:
		known = p.connectRule(e, r)
	}
	if err != nil {
		return err
	}
	p.log(e, r)
	if err := p.checkPlace(e, r, known); err != nil || p.ignored || !known {
		return err
	}
	if p.read.rules == MaxRules {
		return p.exceed(e, "the configuration has more than %d rules", MaxRules)
	}
	p.read.rules++
	p.rules = append(p.rules, r)
	return nil
}

// has tells whether e has one of the attributes.
func (e element) has(names ...string) bool {
	for _, name := range names {
		if _, ok := e.value(name); ok {
			return true
		}
	}
	return false
}

func (e element) ruleKind() Kind {
	switch {
	case e.has(sendAttributes...):
		return Send
	case e.has(receiveAttributes...), e.has("eavesdrop"):
		return Receive
	case e.has("own", "own_prefix"):
		return Own
	}
	return Connect
}

// tag is e as it would be written on one line.
func (e element) tag() string {
	var b strings.Builder
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		b.WriteString(" " + a.name + "=" + quote(a.value))
	}
	b.WriteString("/>")
	return b.String()
}

// checkCombination finds attributes that do not go together.
func (p *parser) checkCombination(e element) error {
	send := e.has(sendAttributes...)
	receive := e.has(receiveAttributes...) || !send && e.has("eavesdrop")
	groups := 0
	if send || receive || e.has(messageAttributes...) {
		groups++
	}
	for _, name := range otherAttributes {
		if e.has(name) {
			groups++
		}
	}
	switch {
	case !send && !receive && !e.has(otherAttributes...):
		return p.fail(e, "has no attribute that says what is meant; give it a send_, receive_, own, user or group attribute")
	case e.has("send_member") && !e.has("send_interface", "send_path"):
		return p.fail(e, "has send_member alone; add send_interface or send_path")
	case e.has("receive_member") && !e.has("receive_interface", "receive_path"):
		return p.fail(e, "has receive_member alone; add receive_interface or receive_path")
	case groups > 1:
		return p.fail(e, "own, own_prefix, user, group and the attributes about messages exclude each other; write one element for each")
	case send && receive:
		return p.fail(e, "send_ and receive_ attributes exclude each other; write one element for each")
	case e.has("send_error") && e.has("send_member", "send_interface"):
		return p.fail(e, "send_error excludes send_member and send_interface, which errors do not have")
	case e.has("send_destination") && e.has("send_destination_prefix"):
		return p.fail(e, "send_destination and send_destination_prefix exclude each other; write one element for each")
	case e.has("receive_error") && e.has("receive_member", "receive_interface"):
		return p.fail(e, "receive_error excludes receive_member and receive_interface, which errors do not have")
	}
	return nil
}

// compare makes r want the field in the attribute name to be what the attribute says. A star is anything.
func (e element) compare(r *Rule, name string, field *string, w wants) {
	if value, ok := e.value(name); ok && value != "*" {
		*field = value
		r.wants |= w
	}
}

// comparePrefix makes r want a name to begin as the attribute name says, where a star is nothing special.
func (p *parser) comparePrefix(e element, r *Rule, name string) {
	value, ok := e.value(name)
	if !ok {
		return
	}
	r.peer = value
	r.wants |= wantsPeer | wantsPrefix
	if strings.Contains(value, "*") || strings.HasSuffix(value, ".") {
		p.warn(e, "%s is %q, which no name begins with; write the beginning without star and last dot", name, value)
	}
}

// messageRule reads the attributes of a rule about messages, which begin with prefix or are for both
// directions.
func (p *parser) messageRule(e element, r *Rule, prefix string) error {
	e.compare(r, prefix+"path", &r.path, wantsPath)
	e.compare(r, prefix+"interface", &r.iface, wantsInterface)
	e.compare(r, prefix+"member", &r.member, wantsMember)
	e.compare(r, prefix+"error", &r.errorName, wantsError)
	e.compare(r, "send_destination", &r.peer, wantsPeer)
	e.compare(r, "receive_sender", &r.peer, wantsPeer)
	p.comparePrefix(e, r, "send_destination_prefix")
	if err := p.messageType(e, r, prefix+"type"); err != nil {
		return err
	}
	if err := p.descriptors(e, r); err != nil {
		return err
	}
	if err := p.broadcast(e, r); err != nil {
		return err
	}
	eavesdrop, err := p.either(e, "eavesdrop", "true", "false", false)
	if err != nil {
		return err
	}
	// Of replies, allowing means requested ones only, and denying the others only, unless the
	// attribute says otherwise.
	requested, err := p.either(e, prefix+"requested_reply", "true", "false", r.Allow)
	if err != nil {
		return err
	}
	switch {
	case r.Allow && requested && !eavesdrop:
		r.condition.requested = mustBe
	case !r.Allow && !requested:
		r.condition.requested = mustNotBe
	}
	if r.Kind == Receive {
		switch {
		case r.Allow && !eavesdrop:
			r.condition.eavesdropping = mustNotBe
		case !r.Allow && eavesdrop:
			r.condition.eavesdropping = mustBe
		}
	}
	return nil
}

var messageTypes = map[string]wire.Type{
	"*": 0, "method_call": wire.TypeMethodCall, "method_return": wire.TypeMethodReturn,
	"error": wire.TypeError, "signal": wire.TypeSignal,
}

func (p *parser) messageType(e element, r *Rule, name string) error {
	value, ok := e.value(name)
	if !ok {
		return nil
	}
	t, ok := messageTypes[value]
	if !ok {
		return p.fail(e, `%s is %q, but has to be "method_call", "method_return", "signal", "error" or "*"`, name, value)
	}
	r.condition.messageType = t
	return nil
}

func (p *parser) descriptors(e element, r *Rule) error {
	for _, name := range []string{"min_fds", "max_fds"} {
		value, ok := e.value(name)
		if !ok {
			continue
		}
		v, rest, err := parseNumber(value)
		if err != nil || v < 0 || v > MaxDescriptors {
			return p.fail(e, "%s is %q, but has to be a number from 0 to %d", name, value, MaxDescriptors)
		}
		if rest != "" {
			p.warn(e, "%q after the number %d in %s is ignored; remove it", rest, v, name)
		}
		switch {
		case name == "min_fds":
			r.condition.minFDs = uint32(v)
		case v < MaxDescriptors: // which no message exceeds
			r.condition.maxFDs = uint32(v)
		}
	}
	if r.condition.minFDs > r.condition.maxFDs {
		p.warn(e, "matches nothing, for min_fds is more than max_fds")
	}
	return nil
}

func (p *parser) broadcast(e element, r *Rule) error {
	if !e.has("send_broadcast") {
		return nil
	}
	yes, err := p.either(e, "send_broadcast", "true", "false", false)
	if err != nil {
		return err
	}
	r.condition.broadcast = mustNotBe
	if yes {
		r.condition.broadcast = mustBe
		if destination, ok := e.value("send_destination"); ok && destination != "*" {
			return p.fail(e, "matches nothing, for broadcasts have no destination; remove send_broadcast or send_destination")
		}
	}
	return nil
}

// log reads the attribute log. As in dbus-daemon everything but true means no.
func (p *parser) log(e element, r *Rule) {
	value, ok := e.value("log")
	switch {
	case !ok:
	case value == "true" && r.Kind == Send:
		r.Log = true
	case value == "true":
		p.warn(e, "log does something in send_ rules only; remove it here")
	case value != "false":
		p.warn(e, `log is %q, which means "false"; write "true" or "false"`, value)
	}
}

func (p *parser) ownRule(e element, r *Rule) {
	e.compare(r, "own", &r.peer, wantsPeer)
	p.comparePrefix(e, r, "own_prefix")
}

// connectRule reads the attribute user or group. It returns false if nobody has that name.
func (p *parser) connectRule(e element, r *Rule) bool {
	what, find := "user", p.Users.User
	value, ok := e.value("user")
	if !ok {
		what, find = "group", p.Users.Group
		value, _ = e.value("group")
		r.group = true
	}
	if value == "*" {
		return true
	}
	r.wants = wantsID
	r.id, ok = lookupID(value, find)
	if !ok {
		p.warn(e, "there is no %s %q on this system, so the rule concerns nobody", what, value)
	}
	return ok
}

// checkPlace finds rules that make no sense where they are.
func (p *parser) checkPlace(e element, r *Rule, known bool) error {
	if r.Kind != Connect || p.ignored || !known {
		return nil
	}
	switch p.context.Kind {
	case OfUser, OfGroup:
		return p.fail(e, `user and group decide who may connect at all and are not allowed in %s; move the element to a <policy context="default">`, p.context)
	case AtConsole, NotAtConsole:
		p.warn(e, `does nothing in %s; move it to a <policy context="default">`, p.context)
	}
	return nil
}
