using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>What nodes ask each other once, beside the streams: who belongs, and changes of the metadata.</summary>
public sealed partial class PeerTransport
{
    /// <summary>A node that neither refuses nor answers is left after so long.</summary>
    private static readonly TimeSpan CallTimeout = TimeSpan.FromSeconds(5);

    private readonly PeerChannels _readChannels = new(watched: true);

    /// <summary>What this node says of itself.</summary>
    internal PeerHello Hello => _gate.Hello;

    /// <summary>Asks a member, at an address, to take this node in or to note where it is.</summary>
    /// <exception cref="RpcException">Nobody answers there, or not as a member.</exception>
    public static async Task<RegisterResponse> RegisterAtAsync(
        Uri address, PeerHello self, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Open(address, watched: true);
        using var call = new Peer.PeerClient(channel).RegisterAsync(
            new RegisterRequest { From = self }, Options(cancellationToken));
        return await call.ResponseAsync;
    }

    /// <summary>Asks whoever is at an address who it is, and tells it where members are.</summary>
    /// <exception cref="RpcException">Nobody answers there, or not as a broker.</exception>
    public async Task<PeerHello> InviteAsync(
        Uri address, string name, IEnumerable<string> members, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Open(address, watched: true);
        using var call = new Peer.PeerClient(channel).InviteAsync(
            new InviteRequest { From = _gate.Hello, Name = name, Addresses = { members } },
            Options(cancellationToken));
        return (await call.ResponseAsync).Hello ?? new PeerHello();
    }

    /// <summary>Has a peer, which leads the metadata group, commit a command.</summary>
    /// <exception cref="RpcException">It does not answer, or this node does not belong.</exception>
    public async Task<ChangeMetadataResponse> ChangeMetadataAtAsync(
        Uri address, ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Open(address, watched: true);
        using var call = new Peer.PeerClient(channel).ChangeMetadataAsync(
            new ChangeMetadataRequest
            {
                From = _gate.Hello,
                Command = Google.Protobuf.UnsafeByteOperations.UnsafeWrap(command),
            },
            Options(cancellationToken));
        return await call.ResponseAsync;
    }

    /// <summary>
    /// Asks a peer, which leads a group, how far the group is. On a connection that stays: reads may ask often.
    /// </summary>
    /// <exception cref="RpcException">It does not answer, or this node does not belong.</exception>
    public async Task<ReadIndexResponse> ReadIndexAtAsync(
        Uri address, GroupId group, CancellationToken cancellationToken)
    {
        using var call = new Peer.PeerClient(_readChannels.To(address)).ReadIndexAsync(
            new ReadIndexRequest { From = _gate.Hello, Group = (uint)group.Value }, Options(cancellationToken));
        return await call.ResponseAsync;
    }

    internal Task<RegisterResponse> RegisterAsync(RegisterRequest request, CancellationToken callEnded) =>
        request.From is { } from
            ? _gate.RegisterAsync(from, callEnded)
            : throw PeerTransfer.Refuse(StatusCode.InvalidArgument, "A registration names its sender.");

    internal Task<ChangeMetadataResponse> ChangeMetadataAsync(
        ChangeMetadataRequest request, CancellationToken callEnded)
    {
        if (request.From is null || request.Command.Length is 0 or > Limits.MetadataCommandBytes)
        {
            throw PeerTransfer.Refuse(
                StatusCode.InvalidArgument,
                $"A change names its sender and has 1 to {Limits.MetadataCommandBytes:N0} bytes.");
        }

        Admit(request.From);
        return _gate.ChangeMetadataAsync(request.Command.Memory, callEnded);
    }

    internal Task<ReadIndexResponse> ReadIndexAsync(ReadIndexRequest request, CancellationToken callEnded)
    {
        Admit(request.From ?? throw PeerTransfer.Refuse(
            StatusCode.InvalidArgument, "Who asks how far a group is names itself."));
        return _gate.ReadIndexAsync(new GroupId((int)request.Group), callEnded);
    }

    private static CallOptions Options(CancellationToken cancellationToken) => new(
        deadline: DateTime.SpecifyKind(TimeProvider.System.GetUtcNow().UtcDateTime + CallTimeout, DateTimeKind.Utc),
        cancellationToken: cancellationToken);
}
