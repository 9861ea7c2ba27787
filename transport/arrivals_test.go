package transport

import "testing"

func TestWhoWaitsLeavesDescriptorsToOthers(t *testing.T) {
	const files = 65536
	for _, test := range []struct {
		name            string
		own, all, users int
		files           int
		want            bool
	}{
		{"the first", 0, 0, 1, files, true},
		{"the last of one user", maxWaiting - 1, maxWaiting - 1, 1, files, true},
		{"too many of one user", maxWaiting, maxWaiting, 1, files, false},
		{"too many for few files", 128, 128, 1, 1024, false},
		{"more than a part when all is used up", 1000, files / 4, 20, files, false},
		{"less than a part when all is used up", 800, files / 4, 20, files, true},
		{"users without end", 1, files / 4, files, files, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := mayWait(test.own, test.all, test.users, test.files); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestUsersWithoutNumberHoldHalfOfTheDescriptorsAtMost(t *testing.T) {
	const files = 20000
	all, own := 0, make([]int, 500)
	for users := range own {
		for mayWait(own[users], all, users+1, files) {
			own[users]++
			all++
		}
	}
	if all > files/2 {
		t.Errorf("%d of %d", all, files)
	}
}
