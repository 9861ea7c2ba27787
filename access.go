package kdbus

import (
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// AccessKind says whom an Access is for.
type AccessKind uint8

// Whom an Access is for.
const (
	AccessUser  AccessKind = iota + 1 // the user Access.ID
	AccessGroup                       // the members of the group Access.ID
	AccessWorld                       // everybody
)

func (k AccessKind) String() string {
	switch k {
	case AccessUser:
		return "user"
	case AccessGroup:
		return "group"
	case AccessWorld:
		return "world"
	}
	return fmt.Sprintf("AccessKind(%d)", uint8(k))
}

// AccessLevel is what an Access permits. Each level includes those before it.
type AccessLevel uint8

// What an Access permits.
const (
	AccessSee  AccessLevel = iota + 1 // learn that the name exists, and who owns it
	AccessTalk                        // send to its owner, and receive its broadcasts
	AccessOwn                         // own the name
)

func (l AccessLevel) String() string {
	switch l {
	case AccessSee:
		return "see"
	case AccessTalk:
		return "talk"
	case AccessOwn:
		return "own"
	}
	return fmt.Sprintf("AccessLevel(%d)", uint8(l))
}

// An Access permits something to somebody (kdbus.policy(7)).
type Access struct {
	Kind  AccessKind
	ID    uint32 // the user or group; 0 for the world
	Level AccessLevel
}

// A NamePolicy says who may do what with a name. What it does not permit is denied; without any Access
// that is everything.
type NamePolicy struct {
	// Name is a well-known name. One that ends in ".*" stands for all names with exactly one more
	// element that have no NamePolicy of their own.
	Name   string
	Access []Access

	// The rest is for endpoints only, see [MakeEndpoint], and no part of kdbus.

	// Subtree has Access hold for Name and all names below it, however many elements they have more. A
	// NamePolicy for a name itself goes before, then one that ends in ".*", then the Subtree with the
	// longest Name.
	Subtree bool
	// Calls and Broadcasts let through single messages of those who may not talk to the name: calls of
	// the name that one of Calls describes, and broadcasts of its owner that one of Broadcasts does.
	// Everybody may see the name then.
	Calls, Broadcasts []Match
}

// Check judges whether the policy can be given to a bus.
func (p NamePolicy) Check() error {
	base, wildcard := strings.CutSuffix(p.Name, ".*")
	check := wire.CheckWellKnownName
	if wildcard && p.Subtree {
		return fmt.Errorf("policy of %s: with Subtree, the name is without \".*\"", p.Name)
	}
	if wildcard {
		check = checkNamespace
	}
	if err := check(base); err != nil {
		return fmt.Errorf("policy of %q: %w", p.Name, err)
	}
	for _, a := range p.Access {
		if a.Kind < AccessUser || a.Kind > AccessWorld || a.Level < AccessSee || a.Level > AccessOwn {
			return fmt.Errorf("policy of %s: there is no access %v for %v", p.Name, a.Level, a.Kind)
		}
	}
	for _, rules := range [...][]Match{p.Calls, p.Broadcasts} {
		for _, m := range rules {
			if err := m.Check(); err != nil {
				return fmt.Errorf("policy of %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// checkNamespace judges what a wildcard stands below: one element is enough.
func checkNamespace(s string) error {
	if wire.IsUniqueName(s) {
		return wire.CheckWellKnownName(s)
	}
	return wire.CheckNamespace(s)
}

// asked returns policies in the form of kdbus.h.
func asked(policies []NamePolicy) ([]abi.Policy, error) {
	list := make([]abi.Policy, 0, len(policies))
	for _, p := range policies {
		if err := p.Check(); err != nil {
			return nil, err
		}
		list = append(list, p.abi())
	}
	return list, nil
}

func (p NamePolicy) abi() abi.Policy {
	kinds := [...]abi.PolicyAccessType{AccessUser: abi.PolicyAccessUser, AccessGroup: abi.PolicyAccessGroup, AccessWorld: abi.PolicyAccessWorld}
	levels := [...]abi.PolicyType{AccessSee: abi.PolicySee, AccessTalk: abi.PolicyTalk, AccessOwn: abi.PolicyOwn}
	policy := abi.Policy{Name: p.Name, Subtree: p.Subtree, Calls: rules(p.Calls), Broadcasts: rules(p.Broadcasts)}
	for _, a := range p.Access {
		policy.Access = append(policy.Access, abi.PolicyAccess{Type: kinds[a.Kind], Access: levels[a.Level], ID: uint64(a.ID)})
	}
	return policy
}

// rules returns matches as the texts of match rules.
func rules(matches []Match) []string {
	var texts []string
	for _, m := range matches {
		texts = append(texts, m.String())
	}
	return texts
}
