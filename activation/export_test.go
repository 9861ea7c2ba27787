package activation

// PretendSystemd has the code believe that systemd runs this machine, or not. It returns what undoes that.
func PretendSystemd(runs bool) (undo func()) {
	before := systemdRuns
	systemdRuns = func() bool { return runs }
	return func() { systemdRuns = before }
}
