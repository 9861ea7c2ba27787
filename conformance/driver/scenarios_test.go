//go:build conformance

package driver

import "slices"

// scenarios returns all scripts. Their names are unique.
func scenarios() []scenario {
	return slices.Concat(
		methodScenarios(),
		objectScenarios(),
		nameScenarios(),
		queryScenarios(),
		matchScenarios(),
		eavesdropScenarios(),
		monitorScenarios(),
		replyScenarios(),
		routingScenarios(),
		descriptorScenarios(),
		protocolScenarios(),
		headerScenarios(),
		limitScenarios(),
	)
}
