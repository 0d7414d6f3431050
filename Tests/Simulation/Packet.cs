using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Tests.Simulation;

/// <summary>A message with the entries that it carries; and as it is on the wire, between real replicas.</summary>
internal sealed record Packet(GroupId Group, RaftMessage Message, Entry[] Entries, PeerMessage? Wire);
