package bench

import (
	"slices"
	"strings"
	"testing"
)

func TestTheConfinementHasItsHundredRules(t *testing.T) {
	flags := confinement()
	slices.Sort(flags)
	if n := len(slices.Compact(flags)); n != endpointRules {
		t.Errorf("there are %d rules, want %d", n, endpointRules)
	}
	policies, err := confinementPolicies()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies {
		if p.Name == serviceName && len(p.Calls) != serviceRules {
			t.Errorf("the service has %d rules, want %d", len(p.Calls), serviceRules)
		}
	}
}

func TestWhatNeedsAMissingProgramIsLeftOut(t *testing.T) {
	all, err := plan([]string{"endpoint"}, []int{10})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	rest, missing := withoutMissing(all)
	if len(rest) != len(all)-2 || len(missing) != 2 || !strings.Contains(missing[0], "apt-get install xdg-dbus-proxy") {
		t.Errorf("of %d measurements %d are left; missing: %q", len(all), len(rest), missing)
	}
}
