package busconfig

import "testing"

// What a message costs depends on what rules compare, which is of a few kinds, and not on how many there are: so many
// tables are looked into, and so many rules under one key.
func TestLookupsForAMessageDoNotGrowWithTheRules(t *testing.T) {
	work := func(n int) (tables, rules int) {
		v := mustParse(t, systemRules+benchmarkRules(n)).For(1000, []uint32{1000}, false)
		for _, indexes := range [][]*messageIndex{v.send, v.receive} {
			for _, x := range indexes {
				for _, table := range x.tables(wantsError) { // that a call or a signal has no name of an error
					tables++
					rules = max(rules, len(table.all))
					for _, under := range table.by {
						rules = max(rules, len(under))
					}
				}
			}
		}
		return tables, rules
	}
	tables, rules := work(10)
	if tables == 0 || rules == 0 {
		t.Fatal("nothing is looked at")
	}
	for _, n := range []int{300, 5000} {
		if moreTables, moreRules := work(n); moreTables != tables || moreRules != rules {
			t.Errorf("with %d rules %d tables with at most %d rules under a key, with 10 rules %d with %d", n, moreTables, moreRules, tables, rules)
		}
	}
}
