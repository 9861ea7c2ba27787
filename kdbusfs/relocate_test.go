package kdbusfs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
)

func TestAddressesBecomeOffsetsAndDescriptorsNumbers(t *testing.T) {
	m := abi.Message{
		DstID: 7, Cookie: 1, PayloadType: 1, FDs: []int32{11, 12},
		Payload: []abi.Payload{
			{Type: abi.ItemPayloadVec, Offset: 0xdead0000, Size: 10},
			{Type: abi.ItemPayloadVec, Size: 20}, // zeros
			{Type: abi.ItemPayloadMemfd, FD: 13, Offset: 1, Size: 2},
			{Type: abi.ItemPayloadVec, Offset: 0xbeef0000, Size: 30},
		},
	}
	b := m.Append(nil)
	fds := relocate(b, 1000)
	var got abi.Message
	if err := got.DecodeSent(b, 0); err != nil {
		t.Fatal(err)
	}
	// Items are in the order in which Append writes them: payload first.
	if diff := cmp.Diff([]int32{13, 11, 12}, fds); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int32{1, 2}, got.FDs); diff != "" {
		t.Errorf("their numbers (-want +got):\n%s", diff)
	}
	want := []abi.Payload{
		{Type: abi.ItemPayloadVec, Offset: 1000, Size: 10},
		{Type: abi.ItemPayloadVec, Size: 20},
		{Type: abi.ItemPayloadMemfd, FD: 0, Offset: 1, Size: 2},
		{Type: abi.ItemPayloadVec, Offset: 1010, Size: 30},
	}
	if diff := cmp.Diff(want, got.Payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}
