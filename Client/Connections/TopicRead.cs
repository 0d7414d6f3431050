using Grpc.Core;
using Microsoft.Extensions.Logging;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Connections;

/// <summary>How far a read has come, and what to do when the broker that serves it fails.</summary>
internal sealed class TopicRead(
    string topic,
    int partition,
    bool follow,
    int maxRecords,
    BrokerClientOptions options,
    TimeProvider time,
    ILogger logger)
{
    private readonly string _place = PlaceOf(topic, partition);

    private long _progressAt = time.GetTimestamp();
    private int _failures;
    private HashSet<BrokerConnection>? _doNotHaveIt;
    private BrokerConnection? _last;
    private ulong _topicId;
    private long? _lastPerKeyEnd;

    /// <summary>The first offset that has not been handed out.</summary>
    public long NextOffset { get; set; }

    /// <summary>Where to begin instead, until the first answer has told the offset.</summary>
    public DateTimeOffset? FromTime { get; set; }

    /// <summary>
    /// Whether the last record of each key is wanted, until what there was at the beginning was handed out. A read that
    /// goes on at another broker asks for the same again, and skips what it has: what is the last of its key now and
    /// lies before that was the last then.
    /// </summary>
    public bool IsLastPerKey { get; set; }

    /// <summary>Records handed out.</summary>
    public int Records { get; private set; }

    public bool IsDone { get; private set; }

    /// <summary>At every try: whichever broker the read goes on at must not end it early.</summary>
    public bool Linearizable { get; init; }

    /// <summary>By which the leader of a partition is known: no topic can be called so.</summary>
    public static string PlaceOf(string topic, int partition) => partition <= 0 ? topic : $"{topic} #{partition}";

    public void Advance(long offset)
    {
        NextOffset = offset + 1;
        Records++;
        IsDone = maxRecords > 0 && Records >= maxRecords;
    }

    public void SkipTo(long nextOffset) => NextOffset = IsDone ? NextOffset : Math.Max(NextOffset, nextOffset);

    public BrokerConnection Choose(BrokerConnections connections) =>
        _last = _doNotHaveIt is null && _failures == 0 ? connections.Choose(_place) : NextOther(connections);

    /// <summary>
    /// An answer has come: from now on offsets count, and only in the topic that it came from.
    /// </summary>
    public void Began(Wire.ReadResponse response)
    {
        FromTime = null;
        _topicId = response.TopicId;
        if (IsLastPerKey)
        {
            _lastPerKeyEnd ??= response.HighWatermark;
        }
    }

    public Wire.ReadRequest Request()
    {
        var request = new Wire.ReadRequest
        {
            Topic = topic,
            Partition = (uint)partition,
            Follow = follow,
            MaxRecords = maxRecords > 0 ? (uint)(maxRecords - Records) : 0,
            TopicId = _topicId,
            Linearizable = Linearizable,
        };
        IsLastPerKey &= _lastPerKeyEnd is not { } end || NextOffset < end;
        if (IsLastPerKey)
        {
            request.Position = Wire.StartPosition.LastPerKey;
        }
        else if (FromTime is { } time)
        {
            request.TimeUnixMs = Math.Max(0, time.ToUnixTimeMilliseconds());
        }
        else
        {
            request.Offset = NextOffset;
        }

        return request;
    }

    /// <summary>
    /// The next response; null when this stream has ended: then the read is done, or goes on elsewhere.
    /// </summary>
    public async ValueTask<Wire.ReadResponse?> MoveNextAsync(
        IAsyncStreamReader<Wire.ReadResponse> stream,
        BrokerConnection from,
        BrokerConnections connections,
        CancellationToken cancellationToken)
    {
        if (IsDone)
        {
            return null;
        }

        try
        {
            if (await stream.MoveNext(cancellationToken))
            {
                _progressAt = time.GetTimestamp();
                _failures = 0;
                _doNotHaveIt = null;
                from.Worked();
                return stream.Current;
            }

            // A read that follows has no end of its own: the broker shuts down.
            IsDone = !follow;
            _failures += follow ? 1 : 0;
        }
        catch (RpcException error) when (
            cancellationToken.IsCancellationRequested && error.StatusCode == StatusCode.Cancelled)
        {
            throw new OperationCanceledException("The read was cancelled.", error, cancellationToken);
        }
        catch (RpcException error)
        {
            await RecoverAsync(error, from, connections, cancellationToken);
        }

        return null;
    }

    private async ValueTask RecoverAsync(
        RpcException error, BrokerConnection from, BrokerConnections connections, CancellationToken cancellationToken)
    {
        ClientLog.ReadBroken(logger, topic, from.Address, NextOffset, $"{error.StatusCode}: {error.Status.Detail}");
        _failures++;
        switch (error.StatusCode)
        {
            case StatusCode.NotFound when ClientErrors.ReasonOf(error) == ClientErrors.TopicDeleted:
                throw Failure(error, from, gaveUp: false);
            case StatusCode.NotFound or StatusCode.OutOfRange:
                // A replica that lags says so as well: only when none has it, it is not there.
                (_doNotHaveIt ??= []).Add(from);
                if (_doNotHaveIt.Count >= connections.All.Count && Records == 0)
                {
                    throw Failure(error, from, gaveUp: false);
                }

                break;
            case StatusCode.FailedPrecondition when ClientErrors.ReasonOf(error) == ClientErrors.QuorumLost:
                // A replica that is whole gives what it has; when none has more, only an operator can help.
                if (_failures >= connections.All.Count)
                {
                    throw Failure(error, from, gaveUp: false);
                }

                break;
            case StatusCode.ResourceExhausted when ClientErrors.ReasonOf(error) == ClientErrors.LimitReached:
                throw Failure(error, from, gaveUp: false);
            case StatusCode.InvalidArgument or StatusCode.PermissionDenied or StatusCode.Unauthenticated
                or StatusCode.Unimplemented:
                throw Failure(error, from, gaveUp: false);
            default:
                from.Failed(error);
                connections.ForgetLeader(_place, from);
                break;
        }

        if (!follow && time.GetElapsedTime(_progressAt) >= options.OperationTimeout)
        {
            throw Failure(error, from, gaveUp: true);
        }

        if (_failures > connections.All.Count)
        {
            await Task.Delay(RetryDelay.After(time.GetElapsedTime(_progressAt), options), time, cancellationToken);
        }
    }

    private BrokerConnection NextOther(BrokerConnections connections)
    {
        for (var i = 0; i < connections.All.Count; i++)
        {
            var next = connections.Next();
            if (next != _last && _doNotHaveIt?.Contains(next) != true)
            {
                return next;
            }
        }

        return connections.Next();
    }

    private BrokerClientException Failure(RpcException error, BrokerConnection from, bool gaveUp) =>
        ClientErrors.CallFailed(
        $"Reading topic '{topic}' from offset {NextOffset}", _failures, from.Address, error, gaveUp);
}
