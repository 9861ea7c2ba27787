package busconfig

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/wire"
)

// A model of the policy: it goes through the rules one by one, with their attributes as written. The views have
// to agree with it on every message, and on the rule that decides.

type modelRule struct {
	tag     string // allow or deny
	context string // the attribute of <policy>
	attrs   map[string]string
}

func (r modelRule) String() string {
	s := "<" + r.tag
	for _, name := range slices.Sorted(maps.Keys(r.attrs)) {
		s += " " + name + `="` + r.attrs[name] + `"`
	}
	return s + "/>"
}

func (r modelRule) is(kind string) bool {
	if kind == "receive" && r.attrs["eavesdrop"] != "" && !r.is("send") {
		return true
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(r.attrs)), func(a string) bool { return strings.HasPrefix(a, kind) })
}

// demand returns what the attribute of r asks for, and false if it is not there or a star.
func (r modelRule) demand(name string) (string, bool) {
	v, ok := r.attrs[name]
	return v, ok && (v != "*" || strings.HasSuffix(name, "_prefix")) // where it is nothing special
}

// modelView are the rules for somebody in the order of evaluation.
func modelView(rules []modelRule, uid uint32, gids []uint32, console bool) (all []modelRule) {
	add := func(context string) {
		for _, r := range rules {
			if r.context == context {
				all = append(all, r)
			}
		}
	}
	add(`context="default"`)
	for _, g := range slices.Sorted(slices.Values(gids)) {
		add(fmt.Sprintf(`group="%d"`, g))
	}
	add(fmt.Sprintf(`user="%d"`, uid))
	add(fmt.Sprintf(`at_console="%t"`, console))
	add(`context="mandatory"`)
	return all
}

// last returns the rule that decides, nil for none.
func last(rules []modelRule, kind string, matches func(modelRule) bool) (found *modelRule) {
	specific := []string{
		kind + "_type", kind + "_path", kind + "_interface", kind + "_member", kind + "_error",
		"send_destination", "send_destination_prefix", "receive_sender", "own", "own_prefix",
	}
	from := 0
	for i, r := range rules {
		if r.is(kind) && !slices.ContainsFunc(specific, func(a string) bool { _, ok := r.demand(a); return ok }) {
			from = i // it voids those before it
		}
	}
	for _, r := range rules[from:] {
		if r.is(kind) && matches(r) {
			found = &r
		}
	}
	return found
}

func (r modelRule) matchesMessage(kind string, m *Message, peer []string) bool {
	allow := r.tag == "allow"
	if t, ok := r.demand(kind + "_type"); ok && t != m.Type.String() {
		return false
	}
	eavesdrop := r.attrs["eavesdrop"] == "true"
	if kind == "receive" && (m.Eavesdropping && allow && !eavesdrop || !m.Eavesdropping && !allow && eavesdrop) {
		return false
	}
	if m.Reply {
		requested := allow
		if v, ok := r.attrs[kind+"_requested_reply"]; ok {
			requested = v == "true"
		}
		if allow && requested && !eavesdrop && !m.Requested || !allow && !requested && m.Requested {
			return false
		}
	}
	if v, ok := r.demand(kind + "_interface"); ok && (m.Interface == "" && allow || m.Interface != "" && m.Interface != v) {
		return false
	}
	for name, field := range map[string]string{"_path": m.Path, "_member": m.Member, "_error": m.ErrorName} {
		if v, ok := r.demand(kind + name); ok && field != "" && field != v {
			return false
		}
	}
	if v, ok := r.attrs["send_broadcast"]; ok && (v == "true") != m.Broadcast {
		return false
	}
	for _, name := range []string{"send_destination", "receive_sender"} {
		if v, ok := r.demand(name); ok && !slices.Contains(peer, v) {
			return false
		}
	}
	if v, ok := r.attrs["send_destination_prefix"]; ok {
		if !slices.ContainsFunc(peer, func(n string) bool { return strings.HasPrefix(n+".", v+".") }) {
			return false
		}
	}
	least, most := 0, 1<<30
	if v, ok := r.attrs["min_fds"]; ok {
		least, _ = strconv.Atoi(v)
	}
	if v, ok := r.attrs["max_fds"]; ok {
		most, _ = strconv.Atoi(v)
	}
	return least <= int(m.Descriptors) && int(m.Descriptors) <= most
}

func (r modelRule) matchesOwn(name string) bool {
	if v, ok := r.attrs["own_prefix"]; ok {
		return strings.HasPrefix(name+".", v+".")
	}
	v, ok := r.demand("own")
	return !ok || v == name
}

var (
	modelNames  = []string{"a.b", "a.b.c", "a.bc", "a.b.c.d", "x.y", ":1.1", "org.freedesktop.DBus"}
	modelIfaces = []string{"i.A", "i.B", "a.b"}
	modelTexts  = map[string][]string{
		"_interface": modelIfaces, "_member": {"M", "N"}, "_path": {"/", "/p", "/q"}, "_error": {"e.E", "e.F"},
	}
	modelContexts = []string{
		`context="default"`, `context="default"`, `context="mandatory"`, `user="1000"`, `user="0"`, `group="29"`, `group="44"`,
		`at_console="true"`, `at_console="false"`,
	}
)

func drawRule(t *rapid.T) modelRule {
	r := modelRule{
		tag:     rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "tag"),
		context: rapid.SampledFrom(modelContexts).Draw(t, "context"),
		attrs:   map[string]string{},
	}
	maybe := func(name string, values ...string) bool {
		if rapid.IntRange(0, 3).Draw(t, "has "+name) != 0 {
			return false
		}
		r.attrs[name] = rapid.SampledFrom(append([]string{"*"}, values...)).Draw(t, name)
		return true
	}
	boolean := func(name string) {
		if maybe(name, "true") && r.attrs[name] == "*" {
			r.attrs[name] = "false"
		}
	}
	kind := rapid.SampledFrom([]string{"send", "send", "receive", "receive", "own"}).Draw(t, "kind")
	if kind == "own" {
		if !maybe("own_prefix", modelNames...) {
			r.attrs["own"] = rapid.SampledFrom(append([]string{"*"}, modelNames...)).Draw(t, "own")
		}
		return r
	}
	peer := map[string]string{"send": "send_destination", "receive": "receive_sender"}[kind]
	if maybe(peer, modelNames...); kind == "send" && r.attrs[peer] == "" {
		maybe("send_destination_prefix", modelNames...)
	}
	iface := maybe(kind+"_interface", modelTexts["_interface"]...)
	path := maybe(kind+"_path", modelTexts["_path"]...)
	if iface || path {
		maybe(kind+"_member", modelTexts["_member"]...)
	}
	if !iface && r.attrs[kind+"_member"] == "" {
		maybe(kind+"_error", modelTexts["_error"]...)
	}
	maybe(kind+"_type", "method_call", "method_return", "signal", "error")
	boolean(kind + "_requested_reply")
	boolean("eavesdrop")
	if d := r.attrs["send_destination"]; kind == "send" && (d == "" || d == "*") {
		boolean("send_broadcast")
	}
	if !r.is(kind) {
		r.attrs[kind+"_type"] = "*"
	}
	if maybe("min_fds", "1", "2") && r.attrs["min_fds"] == "*" {
		r.attrs["min_fds"] = "0"
	}
	if maybe("max_fds", "1", "2") && r.attrs["max_fds"] == "*" {
		r.attrs["max_fds"] = "0"
	}
	return r
}

func drawMessage(t *rapid.T) (m Message, destination, sender []string) {
	text := func(name string) string {
		return rapid.SampledFrom(append([]string{"", "z.Z"}, modelTexts[name]...)).Draw(t, name)
	}
	names := func(label string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(modelNames), 0, 3, rapid.ID[string]).Draw(t, label)
	}
	destination, sender = names("destination"), names("sender")
	m = Message{
		Type:          wire.Type(rapid.IntRange(1, 4).Draw(t, "type")),
		Path:          text("_path"),
		Interface:     text("_interface"),
		Member:        text("_member"),
		ErrorName:     text("_error"),
		Reply:         rapid.Bool().Draw(t, "reply"),
		Requested:     rapid.Bool().Draw(t, "requested"),
		Broadcast:     rapid.Bool().Draw(t, "broadcast"),
		Eavesdropping: rapid.Bool().Draw(t, "eavesdropping"),
		Descriptors:   uint32(rapid.IntRange(0, 3).Draw(t, "descriptors")),
		Destination:   NewNames(destination...),
		Sender:        NewNames(sender...),
	}
	return m, destination, sender
}

func TestViewsAgreeWithTheModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(drawRule), 0, 25).Draw(t, "rules")
		policy := parseModel(t, dir, rules)
		for range 5 {
			uid := rapid.SampledFrom([]uint32{0, 1000, 7}).Draw(t, "uid")
			gids := rapid.SliceOfDistinct(rapid.SampledFrom([]uint32{29, 44, 7}), rapid.ID[uint32]).Draw(t, "gids")
			console := rapid.Bool().Draw(t, "console")
			view, model := policy.For(uid, gids, console), modelView(rules, uid, gids, console)
			for range 5 {
				m, destination, sender := drawMessage(t)
				check(t, "send", view.MaySend(&m), view.SendRules(&m),
					last(model, "send", func(r modelRule) bool { return r.matchesMessage("send", &m, destination) }))
				check(t, "receive", view.MayReceive(&m), view.ReceiveRules(&m),
					last(model, "receive", func(r modelRule) bool { return r.matchesMessage("receive", &m, sender) }))
			}
			name := rapid.SampledFrom(modelNames).Draw(t, "own")
			check(t, "own", view.MayOwn(name), view.OwnRules(name),
				last(model, "own", func(r modelRule) bool { return r.matchesOwn(name) }))
		}
	})
}

// parseModel reads the rules as a configuration, one to a line.
func parseModel(t *rapid.T, dir string, rules []modelRule) *Policy {
	text := "<busconfig><listen>unix:path=/a</listen>\n"
	for _, r := range rules {
		text += "<policy " + r.context + ">" + r.String() + "</policy>\n"
	}
	file := filepath.Join(dir, "main.conf")
	if err := os.WriteFile(file, []byte(text+"</busconfig>"), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := testOptions(dir).Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return c.Policy
}

func check(t *rapid.T, what string, got Verdict, matching []*Rule, want *modelRule) {
	t.Helper()
	switch {
	case want == nil:
		if got.Allowed || got.Rule != nil || len(matching) > 0 {
			t.Fatalf("%s: no rule matches, but %v, %v", what, got, matching)
		}
	case got.Rule == nil || got.Allowed != (want.tag == "allow") || got.Rule != matching[len(matching)-1]:
		t.Fatalf("%s: %v has to decide, but %v of %v does", what, want, got, matching)
	case got.Rule.String() != want.String():
		t.Fatalf("%s: %v has to decide, but %v does", what, want, got.Rule)
	}
}
