namespace Broker.Client;

/// <summary>What a broker is and takes.</summary>
/// <param name="Version">Of its program.</param>
/// <param name="Features">
/// What it has of the contract beyond publish, read and live subscriptions; the names are in admin.proto.
/// </param>
/// <param name="MessageBytes">The largest value of a record; a topic may take less.</param>
/// <param name="BatchBytes">The largest encoded batch.</param>
/// <param name="BatchRecords">The most records of a batch.</param>
/// <param name="Topics">The most topics of the cluster.</param>
public sealed record ServerInfo(
    string Version, IReadOnlyList<string> Features, int MessageBytes, int BatchBytes, int BatchRecords, int Topics);
