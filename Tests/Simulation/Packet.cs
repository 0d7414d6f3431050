using Broker.Consensus;

namespace Broker.Tests.Simulation;

/// <summary>A message with the entries that it carries.</summary>
internal sealed record Packet(RaftMessage Message, Entry[] Entries);
