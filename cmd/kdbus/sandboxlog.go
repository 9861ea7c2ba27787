package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/internal/sandbox/policy"
	"github.com/kdbus-go/kdbus/wire"
)

// refusals are what the endpoint of a sandbox has refused: to be printed, and to learn from.
type refusals struct {
	options *sandboxOptions
	stderr  io.Writer

	mu      sync.Mutex
	learner policy.Learner
	lost    uint64
}

func newRefusals(o *sandboxOptions, stderr io.Writer) *refusals {
	return &refusals{options: o, stderr: stderr}
}

// note returns what is to be told of each, or nil if nobody wants to know.
func (r *refusals) note() func(kdbus.Refusal) {
	if !r.options.log && r.options.learn == "" {
		return nil
	}
	return r.add
}

func (r *refusals) add(told kdbus.Refusal) {
	refusal := refusalOf(told.Policy)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learner.Add(refusal)
	r.lost += told.Lost
	if !r.options.log {
		return
	}
	if told.Lost > 0 {
		fmt.Fprintf(r.stderr, "kdbus sandbox: %d refusals are not shown, as there were too many at once\n", told.Lost)
	}
	advice := "no flag permits that, as it has no name"
	if flag := refusal.Flag(); flag != "" {
		advice = "permitted by " + flag
	}
	fmt.Fprintf(r.stderr, "kdbus sandbox: refused %s %s; %s\n", told.Peer, describeRefusal(told.Policy, refusal), advice)
}

// refusalOf returns what was refused if p would permit it.
func refusalOf(p kdbus.NamePolicy) policy.Refusal {
	r := policy.Refusal{Name: p.Name}
	if wire.IsUniqueName(p.Name) {
		r.Name = ""
	}
	describe := func(kind policy.Kind, m kdbus.Match) {
		r.Kind, r.Path, r.Interface, r.Member = kind, string(m.Path), m.Interface, m.Member
	}
	switch {
	case len(p.Calls) > 0:
		describe(policy.Calling, p.Calls[0])
	case len(p.Broadcasts) > 0:
		describe(policy.Hearing, p.Broadcasts[0])
	case len(p.Access) == 0:
	case p.Access[0].Level == kdbus.AccessOwn:
		r.Kind = policy.Owning
	case p.Access[0].Level == kdbus.AccessTalk:
		r.Kind = policy.Starting
	default:
		r.Kind = policy.Seeing
	}
	return r
}

// describeRefusal says for people what was refused.
func describeRefusal(p kdbus.NamePolicy, r policy.Refusal) string {
	message := r.Member
	if r.Interface != "" {
		message = r.Interface + "." + message
	}
	if message == "" {
		message = "something"
	}
	if r.Path != "" {
		message += " at " + r.Path
	}
	switch r.Kind {
	case policy.Calling:
		return fmt.Sprintf("to send %s %s", p.Name, message)
	case policy.Hearing:
		return fmt.Sprintf("to hear of %s %s", p.Name, message)
	case policy.Owning:
		return "to own " + p.Name
	case policy.Starting:
		return "to start " + p.Name
	}
	return "to see " + p.Name
}

// end writes what was learned, if that is wanted, when all has been told.
func (r *refusals) end(ctx context.Context, endpoint *kdbus.Endpoint) error {
	if r.note() == nil {
		return nil
	}
	// The answer to anything comes behind what was refused before. It is the end: nothing passes any more.
	if err := endpoint.Update(ctx); err != nil {
		return fmt.Errorf("learn what was refused: %w", err)
	}
	if r.options.learn == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	learned, err := r.learner.Teach(&r.options.policy)
	if err != nil {
		return err
	}
	if r.lost > 0 {
		fmt.Fprintf(r.stderr, "kdbus sandbox: %d refusals were too many at once to be learned; run the command again with --policy %s\n", r.lost, r.options.learn)
	}
	if err := os.WriteFile(r.options.learn, r.options.policy.Format(), 0o666); err != nil {
		return fmt.Errorf("write the policy: %w", err)
	}
	fmt.Fprintf(r.stderr, "kdbus sandbox: %d flags learned; %s has all %d\n", learned, r.options.learn, len(r.options.policy.Flags()))
	return nil
}
