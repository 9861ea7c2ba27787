package dbus1

import (
	"github.com/kdbus-go/kdbus/bus"
)

type matchIndex struct {
	m map[*bus.Conn][]*MatchRule
	n int
}

func newMatchIndex() *matchIndex { return &matchIndex{m: map[*bus.Conn][]*MatchRule{}} }
func (i *matchIndex) add(c *bus.Conn, r *MatchRule) {
	i.m[c] = append(i.m[c], r)
	i.n++
}
func (i *matchIndex) remove(c *bus.Conn, r *MatchRule) bool {
	for k, o := range i.m[c] {
		if o.Equal(r) {
			i.m[c] = append(i.m[c][:k], i.m[c][k+1:]...)
			i.n--
			return true
		}
	}
	return false
}
func (i *matchIndex) removeAll(c *bus.Conn)      { i.n -= len(i.m[c]); delete(i.m, c) }
func (i *matchIndex) eavesdroppers() (n int) {
	return 0
}
func (i *matchIndex) count(c *bus.Conn) int { return len(i.m[c]) }
func (i *matchIndex) len() int              { return i.n }
func (i *matchIndex) rules(c *bus.Conn) (s []string) {
	for _, r := range i.m[c] {
		s = append(s, r.String())
	}
	return
}
func (i *matchIndex) collect(m *matchMessage, found []*bus.Conn) []*bus.Conn {
	for c, rs := range i.m {
		for _, r := range rs {
			if r.matches(m) {
				found = append(found, c)
				break
			}
		}
	}
	return found
}
