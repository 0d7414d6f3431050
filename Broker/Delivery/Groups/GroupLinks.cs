using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;
using Broker.Transport;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace Broker.Delivery;

/// <summary>The ways to shards that other nodes lead: one stream for each node.</summary>
/// <param name="hello">What this node says of itself.</param>
/// <param name="logger">Where words go.</param>
internal sealed class GroupLinks(Func<PeerHello> hello, ILogger logger) : IAsyncDisposable
{
    private readonly ConcurrentDictionary<Uri, GroupLink> _links = new();
    private readonly Lock _opening = new();

    /// <summary>A link that broke is opened anew by the next who asks.</summary>
    public IGroupShard To(PeerEndpoint peer, GroupId shard)
    {
        if (!_links.TryGetValue(peer.Address, out var link) || link.IsToBeReplaced)
        {
            lock (_opening)
            {
                if (!_links.TryGetValue(peer.Address, out link) || link.IsToBeReplaced)
                {
                    link = new GroupLink(peer, hello(), logger);
                    _links[peer.Address] = link;
                }
            }
        }

        return new LinkedShard(link, shard);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var link in _links.Values)
        {
            await link.DisposeAsync();
        }
    }
}

/// <summary>A stream to one node. Messages gather while one is on its way.</summary>
internal sealed class GroupLink : IAsyncDisposable
{
    private const int RequestsAtOnce = 1_000;
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(200);

    private readonly GrpcChannel _channel;
    private readonly CancellationTokenSource _closing = new();
    private readonly Task _running;

    // What stands in it is bounded by what clients' calls have under way, and by their credit.
    private readonly Channel<GroupPeerRequest> _requests =
        Channel.CreateUnbounded<GroupPeerRequest>(new UnboundedChannelOptions { SingleReader = true });

    private readonly ConcurrentDictionary<(GroupId Shard, long Session), IGroupOutlet> _outlets = new();
    private readonly ConcurrentDictionary<long, TaskCompletionSource<GroupPeerResponse>> _calls = new();
    private long _lastCall;
    private volatile bool _isBroken;
    private long _brokenAt;

    public GroupLink(PeerEndpoint peer, PeerHello hello, ILogger logger)
    {
        _channel = PeerChannel.Open(peer.Address, watched: true);
        _running = Task.Run(() => RunAsync(peer, hello, logger));
    }

    /// <summary>It broke, and not just now: another one may be tried.</summary>
    public bool IsToBeReplaced =>
        _isBroken && Stopwatch.GetElapsedTime(Volatile.Read(ref _brokenAt)) > RetryInterval;

    public void Open(GroupId shard, long session, IGroupOutlet outlet, GroupPeerRequest request)
    {
        _outlets[(shard, session)] = outlet;
        Send(request);
        if (_isBroken)
        {
            End(shard, session, Refusal.NoLeader(shard));
        }
    }

    public void Close(GroupId shard, long session, IGroupOutlet outlet, GroupPeerRequest request)
    {
        if (_outlets.TryRemove(KeyValuePair.Create((shard, session), outlet)))
        {
            Send(request);
        }
    }

    public void Send(GroupPeerRequest request) => _requests.Writer.TryWrite(request);

    public async Task<GroupPeerResponse> CallAsync(
        GroupId shard, GroupPeerRequest request, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<GroupPeerResponse>(TaskCreationOptions.RunContinuationsAsynchronously);
        request.Number = -Interlocked.Increment(ref _lastCall);
        _calls[request.Number] = done;
        try
        {
            Send(request);
            if (_isBroken)
            {
                throw Refusal.NoLeader(shard);
            }

            var response = await done.Task.WaitAsync(cancellationToken);
            return response.Refused is { } refused ? throw GroupPeerMessages.ToRefusal(refused) : response;
        }
        finally
        {
            _calls.TryRemove(request.Number, out _);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        await _running;
        _closing.Dispose();
    }

    private async Task RunAsync(PeerEndpoint peer, PeerHello hello, ILogger logger)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        try
        {
            using var call = new GroupPeer.GroupPeerClient(_channel).Serve(cancellationToken: ending.Token);
            await call.RequestStream.WriteAsync(new GroupPeerRequests { Hello = hello }, ending.Token);
            var writing = WriteAsync(call.RequestStream, ending.Token);
            var reading = ReadAsync(call.ResponseStream, ending.Token);
            await await Task.WhenAny(writing, reading);
        }
        catch (Exception broken) when (broken is RpcException or IOException or OperationCanceledException
            or InvalidOperationException)
        {
            if (!_closing.IsCancellationRequested)
            {
                DeliveryEvents.GroupLinkBroken(logger, peer.Name, broken.Message);
            }
        }

        await ending.CancelAsync();
        Break();
        _channel.Dispose();
    }

    private async Task WriteAsync(IClientStreamWriter<GroupPeerRequests> stream, CancellationToken cancellationToken)
    {
        while (await _requests.Reader.WaitToReadAsync(cancellationToken))
        {
            var message = new GroupPeerRequests();
            while (message.Requests.Count < RequestsAtOnce && _requests.Reader.TryRead(out var request))
            {
                message.Requests.Add(request);
            }

            await stream.WriteAsync(message, cancellationToken);
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<GroupPeerResponses> stream, CancellationToken cancellationToken)
    {
        while (await stream.MoveNext(cancellationToken))
        {
            foreach (var response in stream.Current.Responses)
            {
                Take(response);
            }
        }
    }

    private void Take(GroupPeerResponse response)
    {
        var shard = new GroupId((int)response.Shard);
        if (response.Number < 0)
        {
            if (_calls.TryRemove(response.Number, out var call))
            {
                call.TrySetResult(response);
            }

            return;
        }

        if (!_outlets.TryGetValue((shard, response.Number), out var outlet))
        {
            if (response.Delivery is { } late)
            {
                Send(new GroupPeerRequest
                {
                    Shard = response.Shard,
                    GiveBack = new GroupPeerGiveBack { Token = late.Token },
                });
            }

            return;
        }

        switch (response.ResponseCase)
        {
            case GroupPeerResponse.ResponseOneofCase.Opened:
                outlet.Opened();
                break;
            case GroupPeerResponse.ResponseOneofCase.Delivery:
                outlet.Deliver(GroupPeerMessages.ToDelivery(response.Delivery));
                break;
            case GroupPeerResponse.ResponseOneofCase.Wants:
                outlet.WantsCredit();
                break;
            case GroupPeerResponse.ResponseOneofCase.Quiet:
                outlet.Quiet();
                break;
            case GroupPeerResponse.ResponseOneofCase.Returned:
                outlet.Returned(response.Returned.Records, response.Returned.Bytes);
                break;
            case GroupPeerResponse.ResponseOneofCase.Refused:
                End(shard, response.Number, GroupPeerMessages.ToRefusal(response.Refused));
                break;
        }
    }

    private void End(GroupId shard, long session, BrokerException why)
    {
        if (_outlets.TryRemove((shard, session), out var outlet))
        {
            outlet.Ended(why);
        }
    }

    private void Break()
    {
        Volatile.Write(ref _brokenAt, Stopwatch.GetTimestamp());
        _isBroken = true;
        _requests.Writer.TryComplete();
        foreach (var (shard, session) in _outlets.Keys)
        {
            End(shard, session, Refusal.NoLeader(shard));
        }

        foreach (var (number, call) in _calls)
        {
            if (_calls.TryRemove(number, out _))
            {
                call.TrySetException(Refusal.OutcomeUnknown(GroupId.Metadata));
            }
        }
    }
}

/// <summary>A shard that another node leads.</summary>
internal sealed class LinkedShard(GroupLink link, GroupId shard) : IGroupShard
{
    public void Open(
        SessionKey session, long openedUnixMs, int group, string consumer, IGroupOutlet outlet) => link.Open(
        shard,
        session.Number,
        outlet,
        Request(session.Number, new GroupPeerRequest
        {
            Open = new GroupPeerOpen { Group = group, Consumer = consumer, OpenedUnixMs = openedUnixMs },
        }));

    public void AddCredit(SessionKey session, int records, long bytes) => link.Send(Request(
        session.Number, new GroupPeerRequest { Credit = new GroupPeerCredit { Records = records, Bytes = bytes } }));

    public void Recall(SessionKey session) =>
        link.Send(Request(session.Number, new GroupPeerRequest { Recall = new GroupPeerRecall() }));

    public void GiveBack(int group, DeliveryToken token) => link.Send(Request(0, new GroupPeerRequest
    {
        GiveBack = new GroupPeerGiveBack
        {
            Token = UnsafeByteOperations.UnsafeWrap(DeliveryTokens.Encode(shard, group, token)),
        },
    }));

    public void Close(SessionKey session, IGroupOutlet outlet) => link.Close(
        shard,
        session.Number,
        outlet,
        Request(session.Number, new GroupPeerRequest { Close = new GroupPeerClose() }));

    public async Task<SettleOutcome[]> SettleAsync(
        IReadOnlyList<TokenOrder> orders, CancellationToken cancellationToken)
    {
        var settle = new GroupPeerSettle();
        settle.Orders.AddRange(orders.Select(order => GroupPeerMessages.ToWire(shard, order)));
        var response = await link.CallAsync(
            shard, Request(0, new GroupPeerRequest { Settle = settle }), cancellationToken);
        return [.. response.Settled.Outcomes.Select(static outcome => new SettleOutcome(
            outcome.Refused is { } refused ? GroupPeerMessages.ToRefusal(refused) : null, outcome.Lost))];
    }

    public async Task<GroupReport> ReportAsync(int group, CancellationToken cancellationToken)
    {
        var response = await link.CallAsync(
            shard,
            Request(0, new GroupPeerRequest { Report = new GroupPeerReport { Group = group } }),
            cancellationToken);
        return GroupPeerMessages.ToReport(response.Reported);
    }

    public async Task<IReadOnlyList<PeekedPlace>> PeekAsync(
        int group, PeekState state, PlaceOfRecord? after, int most, CancellationToken cancellationToken)
    {
        var peek = new GroupPeerPeek
        {
            Group = group,
            State = (uint)state,
            Topic = after?.Topic ?? "",
            Partition = after?.Partition ?? 0,
            Offset = after?.Offset ?? 0,
            Most = most,
        };
        var response = await link.CallAsync(
            shard, Request(0, new GroupPeerRequest { Peek = peek }), cancellationToken);
        return [.. response.Peeked.Records.Select(GroupPeerMessages.ToPeeked)];
    }

    public async Task<IReadOnlyList<PlaceReport>> SeekAsync(
        int group, string topic, int? partition, GroupSeek target, CancellationToken cancellationToken)
    {
        var seek = new GroupPeerSeek { Group = group, Topic = topic, End = target.IsEnd };
        if (partition is { } one)
        {
            seek.Partition = one;
        }

        if (target.Offset is { } offset)
        {
            seek.Offset = offset;
        }

        if (target.TimeUnixMs is { } time)
        {
            seek.TimeUnixMs = time;
        }

        var response = await link.CallAsync(
            shard, Request(0, new GroupPeerRequest { Seek = seek }), cancellationToken);
        return GroupPeerMessages.ToReport(response.Reported).Places;
    }

    public async Task<DeadTaken> TakeDeadLettersAsync(int group, DeadOrder order, CancellationToken cancellationToken)
    {
        var take = new GroupPeerTakeDead { Group = group, Purge = order.IsPurge, Most = order.Most };
        take.Offsets.AddRange(order.Offsets);
        if (order.Before is { } before)
        {
            take.Before = before;
        }

        var response = await link.CallAsync(
            shard, Request(0, new GroupPeerRequest { TakeDead = take }), cancellationToken);
        return new DeadTaken(response.DeadTaken.Count, response.DeadTaken.Left, response.DeadTaken.End);
    }

    private GroupPeerRequest Request(long number, GroupPeerRequest request)
    {
        request.Shard = (uint)shard.Value;
        request.Number = number;
        return request;
    }
}
