namespace Broker.Client;

/// <summary>What a forced recovery does to a shard, see <see cref="BrokerClient.ForceRecoveryAsync"/>.</summary>
/// <param name="Report">What is done, and what is or may be lost, in words.</param>
/// <param name="Confirmation">What to send as confirmation, so that it is done.</param>
/// <param name="Done">Whether it was done.</param>
public sealed record RecoveryReport(string Report, string Confirmation, bool Done);
