//go:build !mips && !mipsle && !mips64 && !mips64le && !ppc64 && !ppc64le && !sparc64

package abi

import "testing"

func TestCommandsAreTheIoctlsOfTheHeader(t *testing.T) {
	for _, c := range []struct {
		cmd  Cmd
		want uint32
		name string
	}{
		{CmdBusMake, 0x40189500, "BUS_MAKE"},
		{CmdEndpointMake, 0x40189510, "ENDPOINT_MAKE"},
		{CmdEndpointUpdate, 0x40189511, "ENDPOINT_UPDATE"},
		{CmdHello, 0xc0609580, "HELLO"},
		{CmdUpdate, 0x40189581, "UPDATE"},
		{CmdByeBye, 0x40189582, "BYEBYE"},
		{CmdFree, 0x40209583, "FREE"},
		{CmdConnInfo, 0x80389584, "CONN_INFO"},
		{CmdBusCreatorInfo, 0x80389585, "BUS_CREATOR_INFO"},
		{CmdList, 0x80289586, "LIST"},
		{CmdSend, 0x40389590, "SEND"},
		{CmdRecv, 0x80409591, "RECV"},
		{CmdNameAcquire, 0x401895a0, "NAME_ACQUIRE"},
		{CmdNameRelease, 0x401895a1, "NAME_RELEASE"},
		{CmdMatchAdd, 0x402095b0, "MATCH_ADD"},
		{CmdMatchRemove, 0x402095b1, "MATCH_REMOVE"},
	} {
		if uint32(c.cmd) != c.want || c.cmd.String() != c.name {
			t.Errorf("%v is %#x, want %s %#x", c.cmd, uint32(c.cmd), c.name, c.want)
		}
	}
}
