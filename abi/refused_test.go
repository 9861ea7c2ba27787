package abi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
)

func TestRefusedIsReadAsWritten(t *testing.T) {
	for _, want := range []abi.Refused{
		{ID: 7, Policy: abi.Policy{Name: "a.b", Access: []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: abi.PolicyOwn}}}},
		{ID: 1 << 40, Policy: abi.Policy{Name: ":1.5", Calls: []string{"path='/o'"}}},
		{ID: 1, Policy: abi.Policy{Name: "a.b", Broadcasts: []string{""}}},
	} {
		var got abi.Refused
		if err := got.Decode(want.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 31), append(make([]byte, 32), 16, 0, 0), append((&abi.Refused{}).Append(nil), 1)} {
		if err := new(abi.Refused).Decode(b); err == nil {
			t.Errorf("%d bytes are taken", len(b))
		}
	}
}

// Whatever is taken is written as something that is taken.
func FuzzRefused(f *testing.F) {
	f.Add((&abi.Refused{ID: 7, Policy: abi.Policy{Name: "a.b", Calls: []string{"path='/o'"}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r abi.Refused
		if r.Decode(b) != nil {
			return
		}
		if err := new(abi.Refused).Decode(r.Append(nil)); err != nil {
			t.Error(err)
		}
	})
}
