package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/judgement"
)

// policyUser are the flags about one end of a message.
type policyUser struct {
	name      string
	groups    []string
	atConsole bool
}

func (u *policyUser) addTo(cmd *cobra.Command, name, prefix, usage string) {
	flags := cmd.Flags()
	flags.StringVar(&u.name, name, "", strings.Replace(usage, "user", "`USER`", 1))
	flags.StringSliceVar(&u.groups, prefix+"groups", nil, "all groups of --"+name+" by name or number, instead of those in the\nuser database; `GROUP`,...")
	flags.BoolVar(&u.atConsole, prefix+"at-console", false, "--"+name+" sits at the machine")
}

// completeUsers completes the names in /etc/passwd.
func completeUsers(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	b, _ := os.ReadFile("/etc/passwd")
	var names []string
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return having(names, word), cobra.ShellCompDirectiveNoFileComp
}

// find finds the user in question: the one of the flags, the uid, or, if nothing is known of a connection with
// a name, who runs this command.
func (u *policyUser) find(uid *uint32, connection string, a *policyAnswer) (*judgement.Peer, error) {
	p := &judgement.Peer{AtConsole: u.atConsole}
	var known *user.User
	var err error
	switch {
	case u.name != "":
		if known, err = user.Lookup(u.name); err != nil {
			number, numberErr := strconv.ParseUint(u.name, 10, 32)
			if numberErr != nil {
				return nil, fmt.Errorf("there is no user %q on this system; give the number of one of another system", u.name)
			}
			p.UID = uint32(number)
			known, err = user.LookupId(u.name)
		}
	case uid != nil:
		p.UID = *uid
		known, err = user.LookupId(strconv.FormatUint(uint64(*uid), 10))
	case connection != "":
		return nil, &exitError{exitUsage, fmt.Errorf("the text does not tell the user of %s; add --user", connection)}
	default:
		p.UID = uint32(os.Geteuid())
		known, err = user.LookupId(strconv.Itoa(os.Geteuid()))
	}
	if err == nil {
		p.Name = known.Username
		if p.UID, err = policyID(known.Uid); err != nil {
			return nil, err
		}
	}
	return p, u.findGroups(p, known, a)
}

// findGroups finds the groups of p, which the user database calls known, if it knows it.
func (u *policyUser) findGroups(p *judgement.Peer, known *user.User, a *policyAnswer) error {
	if len(u.groups) == 0 && known == nil {
		a.note("uid %d is not in the user database, so its groups are not known; name them with --groups", p.UID)
		return nil
	}
	groups := u.groups
	if len(groups) == 0 {
		var err error
		if groups, err = known.GroupIds(); err != nil {
			return fmt.Errorf("finding the groups of %s: %w", known.Username, err)
		}
	}
	for _, name := range groups {
		gid, err := policyID(name)
		if err != nil {
			if gid, err = (busconfig.SystemUsers{}).Group(name); err != nil {
				return fmt.Errorf("there is no group %q on this system; give the number of one of another system", name)
			}
		}
		p.Groups = append(p.Groups, gid)
	}
	return nil
}

// owner is the user that the bus runs as.
func (o *policyOptions) owner(config *busconfig.Config) (uint32, error) {
	name := o.busUser
	if name == "" {
		name = config.User
	}
	if name == "" {
		return uint32(os.Geteuid()), nil
	}
	if id, err := policyID(name); err == nil {
		return id, nil
	}
	id, err := (busconfig.SystemUsers{}).User(name)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q to run the bus as; name one with --bus-user", name)
	}
	return id, nil
}

func policyID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
