using Broker.Client.Connections;

namespace Broker.Client.Publishing;

/// <summary>
/// Sends the batches of one producer on one topic in their order, each until it is answered. Its rules:
/// <list type="bullet">
/// <item>What waits while earlier batches are under way forms the next batch. Nothing sleeps to gather.</item>
/// <item>A batch is never sent while a younger one is under way: the younger one's refusal (a gap in the sequence)
/// comes first.</item>
/// <item>All batches under way travel on one stream. To change the broker, it waits until none is under way.</item>
/// <item>
/// The first batch goes alone: of a new producer or epoch, the brokers take any sequence, so a second batch that
/// overtakes a lost first one would make the first one's retry look like a duplicate, and its records would be
/// acknowledged and not stored. After a failure and after a pause it goes alone as well: cheap, and it covers a
/// producer that the brokers have forgotten.
/// </item>
/// </list>
/// </summary>
/// <param name="context">What the producers of a client share.</param>
/// <param name="topic">The topic.</param>
/// <param name="producerId">The producer's id.</param>
/// <param name="onIdle">
/// Set for a producer whose stamps the caller makes: called when it has nothing under way and will take nothing any
/// more. Null for one that stamps by itself; it lives as long as the client, or its sequences would begin anew.
/// </param>
internal sealed partial class TopicProducer(
    PublishContext context, string topic, ulong producerId, Action<TopicProducer>? onIdle = null)
{
    private static readonly TimeSpan PauseBeforeCaution = TimeSpan.FromSeconds(1);

    // A stream may break between its choice and the send; then another one is chosen, so many times in a row.
    private const int ChoicesPerTry = 3;

    private readonly Lock _lock = new();

    /// <summary>Closed batches that were never sent.</summary>
    private readonly Queue<PublishBatch> _ready = new();

    /// <summary>
    /// Batches that were sent at least once, oldest first. Never more than MaxInFlightBatchesPerTopic.
    /// </summary>
    private readonly List<PublishBatch> _window = [];

    private PublishBatch? _open;
    private string? _place;
    private int _expectedBytes = 512;
    private uint _epoch;
    private ulong _nextSequence;
    private int _inFlight;
    private bool _pipelining;
    private PublishStream? _stream;
    private KnownLeader _leader;
    private long _lastAnswerAt;
    private bool _retired;
    private BrokerClientException? _closedBy;

    public string Topic { get; } = topic;

    /// <summary>The partition that its batches go to; -1: whichever the brokers choose.</summary>
    public int Partition { get; set; } = -1;

    /// <summary>How many the topic had at the last answer. 0: there was none yet.</summary>
    public int Partitions { get; private set; }

    /// <summary>Where that stored the batch.</summary>
    public int AnsweredPartition { get; private set; }

    /// <summary>Told outside of locks that the brokers have refused a batch as one that cannot be.</summary>
    public Action? OnDoubt { get; init; }

    private bool OwnsSequence => onIdle is null;

    /// <summary>Who leads is known of each partition by itself.</summary>
    private string Place => Partition <= 0 ? Topic : _place ??= TopicRead.PlaceOf(Topic, Partition);

    /// <summary>Adds a message to the batch that fills. Call <see cref="Pump"/> next when mayPump is set.</summary>
    /// <param name="message">The message.</param>
    /// <param name="sizeBytes">What it takes.</param>
    /// <param name="deadlineAt">Of a batch that begins with it; null: it waits from now on.</param>
    /// <param name="mayPump">Something may be sent at once.</param>
    /// <param name="beganBatch">It is the first of its batch.</param>
    public PublishTicket Append(
        BrokerMessage message, int sizeBytes, long? deadlineAt, out bool mayPump, out bool beganBatch)
    {
        lock (_lock)
        {
            mayPump = false;
            beganBatch = false;
            if (_closedBy is { } closed)
            {
                return new PublishTicket(closed);
            }

            if (_open is { } full && !full.HasRoomFor(sizeBytes))
            {
                _ready.Enqueue(full);
                _open = null;
            }

            _open ??= new PublishBatch(
                this,
                deadlineAt ?? context.After(context.Now, context.Options.PublishTimeout),
                context.Options.BatchBytes,
                context.Options.BatchRecords,
                Math.Max(_expectedBytes, sizeBytes));
            var place = _open.Append(message, sizeBytes);
            mayPump = CanSend;
            beganBatch = place == 0;
            return new PublishTicket(_open, place);
        }
    }

    /// <summary>
    /// Adds a batch that its caller stamped; null when this producer has been retired, and a new one must be made.
    /// </summary>
    public PublishTicket? TryEnqueue(ReadOnlyMemory<byte> encoded, int count, ProducerStamp stamp)
    {
        lock (_lock)
        {
            if (_retired)
            {
                return null;
            }

            if (_closedBy is { } closed)
            {
                return new PublishTicket(closed);
            }

            var deadline = context.After(context.Now, context.Options.PublishTimeout);
            var batch = new PublishBatch(this, deadline, encoded, count, stamp);
            _ready.Enqueue(batch);
            return new PublishTicket(batch, 0);
        }
    }

    /// <summary>
    /// Ends a producer of the caller's stamps when it has nothing under way, so that it is forgotten.
    /// </summary>
    public void RetireIfIdle()
    {
        if (onIdle is null)
        {
            return;
        }

        lock (_lock)
        {
            _retired |= _window.Count == 0 && _ready.Count == 0 && !_renewing;
            if (!_retired)
            {
                return;
            }
        }

        onIdle(this);
    }

    /// <summary>Sends what may be sent now.</summary>
    public void Pump()
    {
        var work = default(PumpWork);
        lock (_lock)
        {
            PumpLocked(ref work);
        }

        work.Finish(context);
    }

    /// <summary>Fails what waits, and whatever comes later.</summary>
    /// <param name="error">Made for whether it may be stored.</param>
    public void Close(Func<bool, BrokerClientException> error)
    {
        var work = default(PumpWork);
        lock (_lock)
        {
            _closedBy = error(false);
            FailAll(batch => error(batch.Uncertain), ref work);
            _retryTimer?.Dispose();
        }

        work.Finish(context);
    }

    private bool CanSend => _inFlight < (_pipelining ? context.Options.MaxInFlightBatchesPerTopic : 1);

    private void PumpLocked(ref PumpWork work)
    {
        var now = context.Now;
        FailOverdue(now, ref work);
        if (_renewing)
        {
            if (_inFlight > 0)
            {
                return;
            }

            Renew(ref work);
        }

        if (_closedBy is not null || now < _retryAt)
        {
            return;
        }

        while (CanSend && NextToSend(now) is { } batch)
        {
            if (!TrySend(batch, now))
            {
                break;
            }

            work.Stream = _stream;
        }
    }

    private PublishBatch? NextToSend(long now)
    {
        for (var i = 0; i < _window.Count; i++)
        {
            if (!_window[i].InFlight)
            {
                return _window.FindIndex(i, static b => b.InFlight) < 0 ? _window[i] : null;
            }
        }

        if (_window.Count >= context.Options.MaxInFlightBatchesPerTopic || MustDrain())
        {
            return null;
        }

        if (_window.Count == 0 && _pipelining && now - _lastAnswerAt > context.Ticks(PauseBeforeCaution))
        {
            _pipelining = false;
        }

        return TakeUnsent();
    }

    /// <summary>Moves the oldest unsent batch into the window, with its stamp.</summary>
    private PublishBatch? TakeUnsent()
    {
        if (!_ready.TryDequeue(out var batch))
        {
            if ((batch = _open) is null)
            {
                return null;
            }

            _open = null;
            _expectedBytes = Math.Clamp(batch.SizeBytes, 512, context.Options.BatchBytes);
        }

        if (OwnsSequence)
        {
            StampNext(batch);
        }

        _window.Add(batch);
        return batch;
    }

    private void StampNext(PublishBatch batch)
    {
        batch.Stamp = new ProducerStamp(producerId, _epoch, _nextSequence);
        _nextSequence += (ulong)batch.Count;
    }

    /// <summary>Whether another broker leads now: it is used as soon as nothing is under way on the old one.</summary>
    private bool MustDrain() =>
        _inFlight > 0
        && context.Connections.LeaderOf(Place, ref _leader) is { } leader
        && leader != _stream!.Connection;

    private bool TrySend(PublishBatch batch, long now)
    {
        var behindOthers = _window[0] != batch;
        if (_inFlight > 0)
        {
            // A stream that breaks in this moment tells its batches, and that is when they go elsewhere.
            return Sent(_stream!.TrySend(batch, now, behindOthers));
        }

        _round++;
        for (var choice = 0; choice < ChoicesPerTry; choice++)
        {
            _stream = (context.Connections.LeaderOf(Place, ref _leader) ?? context.Connections.Next()).Stream();
            if (_stream.TrySend(batch, now, behindOthers))
            {
                return Sent(true);
            }
        }

        RetryLater(now, TimeSpan.Zero, atOnce: false);
        return false;
    }

    private bool Sent(bool sent)
    {
        _inFlight += sent ? 1 : 0;
        return sent;
    }
}
