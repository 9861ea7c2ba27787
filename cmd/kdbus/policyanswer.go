package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/denial"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
	"github.com/kdbus-go/kdbus/wire"
)

// policyAnswer is what a policy says to a question.
type policyAnswer struct {
	config     *busconfig.Config
	said       *denial.Text // the text of the question
	question   *judgement.Question
	judgements []judgement.Judgement
	notes      []string // what else there is to know
	brief      bool     // only what decides
}

func (a *policyAnswer) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// annotate notes what the answer does not see, and where it is not what the bus has said.
func (a *policyAnswer) annotate() {
	for _, j := range a.judgements {
		a.compare(&j)
		if j.Kind != busconfig.Connect && !j.Peer.AtConsole && a.config.Policy.AsksForConsole() {
			flag := "--at-console"
			if j.Kind != a.question.Kind {
				flag = "--peer-at-console"
			}
			a.note("There are rules for who sits at the machine (at_console), which %s is taken not to do; add %s if so.", describeUser(j.Peer), flag)
		}
	}
	if q := a.question; q.Kind == busconfig.Send || q.Kind == busconfig.Receive {
		a.noteEnds(q)
	}
}

// compare notes where j is not what the bus has said.
func (a *policyAnswer) compare(j *judgement.Judgement) {
	refused := busconfig.Send
	switch a.said.Action {
	case denial.Receive:
		refused = busconfig.Receive
	case denial.Own:
		refused = busconfig.Own
	}
	if j.Kind != refused {
		return
	}
	if a.said.Rule != "" && !isAt(j.Verdict.Rule, a.said.Rule) {
		a.note("The bus says that the rule at %s decides: it has another configuration, or one that has changed since.", a.said.Rule)
	}
	switch n := a.said.Rules; {
	case n < 0:
	case j.Verdict.Allowed != a.said.Warned:
		a.note("The bus has decided otherwise: it has another configuration, or the peers have other names, "+
			"groups or seats than are known here. It says that %d rules matched.", n)
	case len(j.Matched) != n:
		a.note("The bus says that %d rules matched, not %d: it has another configuration, or more is known there, "+
			"such as the path or all names of the peers.", n, len(j.Matched))
	}
}

// noteEnds notes what is not known of the peers at both ends of the message.
func (a *policyAnswer) noteEnds(q *judgement.Question) {
	if len(q.Message.Destination) == 1 && strings.HasPrefix(q.Message.Destination[0], ":") && q.Sender != nil {
		a.note("Rules about the well-known names of %s are not seen; name all of them with --to (`kdbus status %[1]s` tells them).",
			q.Message.Destination[0])
	}
	switch {
	case q.Receiver == nil && !a.said.ToBus:
		a.note("Whether the receiver may receive it is not looked at; name its user with --peer.")
	case q.Sender == nil && !a.said.FromBus:
		a.note("Whether the sender may send it is not looked at; name its user with --peer.")
	}
}

// isAt tells whether a rule is at a place, FILE:LINE. Buses tell the full path.
func isAt(r *busconfig.Rule, place string) bool {
	if r == nil {
		return false
	}
	full := r.Source
	if path, err := filepath.Abs(r.File); err == nil {
		full.File = path
	}
	return r.Source.String() == place || full.String() == place
}

func verdictWord(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

// text is the answer for people.
func (a *policyAnswer) text(style tty.Style) []byte {
	var b strings.Builder
	b.WriteString(style.Bold(verdictWord(judgement.Allowed(a.judgements))) + ": " + a.describe() + "\n")
	for _, j := range a.judgements {
		if a.brief {
			fmt.Fprintf(&b, "  %s: %s\n", a.subject(&j), a.reason(&j))
			continue
		}
		fmt.Fprintf(&b, "\n%s: %s\n", a.subject(&j), a.reason(&j))
		a.writeRules(&b, &j)
	}
	if a.brief {
		if a.open() {
			b.WriteString("  the answer may be another one for what was not said; `kdbus policy explain` lists the cases\n")
		}
		return []byte(b.String())
	}
	if len(a.notes) > 0 {
		b.WriteString("\n" + strings.Join(a.notes, "\n") + "\n")
	}
	if len(a.config.Warnings) > 0 {
		b.WriteString("\nThe configuration has mistakes that may matter:\n")
		for _, w := range a.config.Warnings {
			fmt.Fprintf(&b, "  %s\n", w)
		}
	}
	return []byte(b.String())
}

// writeRules writes all that is to be known of a judgement.
func (a *policyAnswer) writeRules(b *strings.Builder, j *judgement.Judgement) {
	if len(j.Matched) > 0 {
		b.WriteString("  rules that match, the last one decides:\n")
		for i, r := range j.Matched {
			fmt.Fprintf(b, "  %3d. %s\n", i+1, describeRule(r))
		}
	}
	if len(j.Void) > 0 {
		fmt.Fprintf(b, "  rules that would match, but are void because of\n       %s:\n", describeRule(j.By))
		for _, r := range j.Void {
			fmt.Fprintf(b, "       %s\n", describeRule(r))
		}
	}
	if len(j.Exceptions) > 0 {
		b.WriteString("  it would be otherwise, with\n")
		for _, e := range j.Exceptions {
			fields := make([]string, len(e.Fields))
			for i, f := range e.Fields {
				fields[i] = f.Name + "=" + f.Value
			}
			fmt.Fprintf(b, "       %s: %s by %s\n", strings.Join(fields, " "), verdictWord(e.Rule.Allow), e.Rule.Source)
		}
	}
}

func describeRule(r *busconfig.Rule) string {
	return fmt.Sprintf("%s: %s in %s", r.Source, r, r.Context)
}

// open tells whether the answer depends on what is not known.
func (a *policyAnswer) open() bool {
	return slices.ContainsFunc(a.judgements, func(j judgement.Judgement) bool { return len(j.Exceptions) > 0 })
}

// subject says who may do what according to j.
func (a *policyAnswer) subject(j *judgement.Judgement) string {
	may := " may "
	if !j.Verdict.Allowed {
		may = " may not "
	}
	what := j.Kind.String()
	switch j.Kind {
	case busconfig.Own:
		what += " " + a.question.Name
	case busconfig.Send, busconfig.Receive:
		what += " it"
	}
	return describeUser(j.Peer) + may + what
}

func describeUser(p *judgement.Peer) string {
	s := fmt.Sprintf("uid %d", p.UID)
	if p.Name != "" {
		s = fmt.Sprintf("%s (uid %d)", p.Name, p.UID)
	}
	if p.AtConsole {
		s += " at the console"
	}
	return s
}

// reason says what decides.
func (a *policyAnswer) reason(j *judgement.Judgement) string {
	switch {
	case j.Verdict.Rule != nil:
		return describeRule(j.Verdict.Rule)
	case j.Kind == busconfig.Connect && j.Verdict.Allowed:
		return "no rule matches, and the bus runs as this user"
	case j.Kind == busconfig.Connect:
		return fmt.Sprintf("no rule matches, and the bus runs as uid %d", a.question.Owner)
	}
	return "no rule matches"
}

// describe says what is asked.
func (a *policyAnswer) describe() string {
	q := a.question
	switch q.Kind {
	case busconfig.Connect:
		return "connecting, by " + a.config.File
	case busconfig.Own:
		return "owning " + q.Name + ", by " + a.config.File
	}
	m := &q.Message
	var b strings.Builder
	if m.Broadcast {
		b.WriteString("broadcast ")
	}
	b.WriteString("type=" + messageTypeName(m.Type))
	add := func(name string, value *string) {
		switch {
		case value == nil:
		case *value == "":
			fmt.Fprintf(&b, ", no %s", name)
		default:
			fmt.Fprintf(&b, ", %s=%s", name, *value)
		}
	}
	isReply := m.Type == wire.TypeMethodReturn || m.Type == wire.TypeError
	for _, names := range []struct {
		title string
		list  []string
	}{{"sender", m.Sender}, {"destination", m.Destination}} {
		if names.list != nil {
			fmt.Fprintf(&b, ", %s=%s", names.title, strings.Join(names.list, "+"))
		}
	}
	if !isReply {
		add("path", m.Path)
		add("interface", m.Interface)
		add("member", m.Member)
	}
	if m.Type == wire.TypeError {
		add("error", m.ErrorName)
	}
	if isReply && !m.Requested {
		b.WriteString(", not requested")
	}
	if m.Descriptors > 0 {
		fmt.Fprintf(&b, ", fds=%d", m.Descriptors)
	}
	if m.Overheard {
		b.WriteString(", overheard")
	}
	return b.String() + ", by " + a.config.File
}

func messageTypeName(t wire.Type) string {
	for name, other := range messageTypes {
		if other == t {
			return name
		}
	}
	return ""
}
