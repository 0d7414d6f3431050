using Broker.Client.Connections;
using Grpc.Core;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Publishing;

/// <summary>What an answer, or the want of one, does.</summary>
internal sealed partial class TopicProducer
{
    private bool _renewing;
    private long _retryAt;
    private ITimer? _retryTimer;
    private long _firstFailureAt;
    private int _failures;

    // Tries of the window's head. The batches behind it fail with it, which counts once.
    private long _round;
    private long _failedRound;

    public void OnAnswer(
        PublishBatch batch, ulong correlation, Wire.PublishResult answer, BrokerConnection from)
    {
        var work = default(PumpWork);
        lock (_lock)
        {
            if (Resolve(batch, correlation))
            {
                batch.AnsweredBy = from.Address;
                context.Connections.Learn(Place, answer.Response?.Leader ?? answer.Leader, _leader);
                if (answer.Status == (uint)StatusCode.OK && answer.Response is { } response)
                {
                    Succeed(batch, response, ref work);
                }
                else
                {
                    Refuse(batch, answer, from, ref work);
                }

                PumpLocked(ref work);
            }
        }

        work.Finish(context);
    }

    /// <summary>No answer will come on that stream.</summary>
    /// <param name="batch">The batch that waits for it.</param>
    /// <param name="correlation">The try that waits for it.</param>
    /// <param name="failure">What happened, in words.</param>
    /// <param name="maybeStored">Whether the broker may have had the batch.</param>
    /// <param name="from">Who owed the answer.</param>
    public void OnNoAnswer(
        PublishBatch batch, ulong correlation, string failure, bool maybeStored, BrokerConnection from)
    {
        var work = default(PumpWork);
        lock (_lock)
        {
            if (Resolve(batch, correlation))
            {
                batch.Uncertain |= maybeStored;
                batch.LastError = failure;
                batch.IsOverloaded = false;
                context.Connections.ForgetLeader(Place, from);
                RetryLater(context.Now, TimeSpan.Zero, atOnce: true);
                PumpLocked(ref work);
            }
        }

        work.Finish(context);
    }

    private bool Resolve(PublishBatch batch, ulong correlation)
    {
        if (!batch.InFlight || batch.Correlation != correlation)
        {
            return false;
        }

        batch.Resolved();
        _inFlight--;
        return true;
    }

    private void Succeed(PublishBatch batch, Wire.PublishResponse response, ref PumpWork work)
    {
        _window.Remove(batch);
        _pipelining = true;
        _failures = 0;
        _lastAnswerAt = context.Now;
        Partitions = (int)Math.Max(1, response.Partitions);
        AnsweredPartition = (int)response.Partition;
        batch.Answer(response);
        work.Add(batch, null);
    }

    private void Refuse(
        PublishBatch batch, Wire.PublishResult answer, BrokerConnection from, ref PumpWork work)
    {
        var code = (StatusCode)answer.Status;
        batch.LastError = $"{from.Address} answered {code}: {answer.Message}";
        batch.IsOverloaded = code == StatusCode.ResourceExhausted;
        var now = context.Now;
        switch (code)
        {
            case StatusCode.Unavailable:
                LeaveUnlessItLeads(answer, from);
                RetryLater(now, TimeSpan.Zero, atOnce: answer.Leader is not null);
                break;
            case StatusCode.ResourceExhausted when answer.RetryAfterMs > 0:
                RetryLater(now, TimeSpan.FromMilliseconds(answer.RetryAfterMs), atOnce: false);
                break;
            case StatusCode.Aborted or StatusCode.Internal or StatusCode.Unknown or StatusCode.Cancelled
                or StatusCode.DeadlineExceeded or StatusCode.OK:
                batch.Uncertain = true;
                LeaveUnlessItLeads(answer, from);
                RetryLater(now, TimeSpan.Zero, atOnce: false);
                break;
            case StatusCode.FailedPrecondition when !IsAboutSequence(answer.Reason):
                Fail(batch, Refused(batch, answer), ref work);
                break;
            case StatusCode.FailedPrecondition when batch.SentBehindOthers:
                // It left a gap because the batch before it was not stored: it follows that one's next try.
                _pipelining = false;
                break;
            case StatusCode.FailedPrecondition when OwnsSequence && !batch.Uncertain:
                // The brokers do not know this producer any more, or another one bears its id: begin a new epoch.
                _renewing = true;
                RetryLater(now, TimeSpan.Zero, atOnce: false);
                break;
            default:
                Fail(batch, Refused(batch, answer), ref work);
                break;
        }
    }

    /// <summary>A broker that gives no reasons means the sequence.</summary>
    private static bool IsAboutSequence(Wire.Reason reason) =>
        reason is Wire.Reason.Unspecified or Wire.Reason.OutOfSequence or Wire.Reason.ProducerFenced;

    private BrokerClientException Refused(PublishBatch batch, Wire.PublishResult answer) => ClientErrors.PublishRefused(
        Topic,
        batch,
        (StatusCode)answer.Status,
        ReasonNames.Of(answer.Reason),
        OwnsSequence && IsAboutSequence(answer.Reason));

    private void LeaveUnlessItLeads(Wire.PublishResult answer, BrokerConnection from)
    {
        if (answer.Leader is null)
        {
            context.Connections.ForgetLeader(Place, from);
        }
    }

    private void RetryLater(long now, TimeSpan atLeast, bool atOnce)
    {
        _pipelining = false;
        if (_failedRound != _round || _failures == 0)
        {
            _failedRound = _round;
            if (_failures++ == 0)
            {
                _firstFailureAt = now;
            }

            var since = context.Time.GetElapsedTime(_firstFailureAt, now);
            var delay = atOnce && _failures == 1 ? TimeSpan.Zero : RetryDelay.After(since, context.Options);
            _retryAt = context.After(now, delay);
        }

        _retryAt = Math.Max(_retryAt, context.After(now, atLeast));
        if (_window.Count > 0)
        {
            // A publish that can wait no longer is told so in time, however long the pause would be.
            _retryAt = Math.Min(_retryAt, Math.Max(now, _window[0].DeadlineAt));
        }

        if (_retryAt > now)
        {
            ArmTimer(now);
        }
    }

    private void ArmTimer(long now)
    {
        _retryTimer ??= context.Time.CreateTimer(
            static state => ((TopicProducer)state!).OnRetryTime(),
            this,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);

        // Timers count whole milliseconds: one more, so that the moment has mostly come when it fires.
        var due = context.Time.GetElapsedTime(now, _retryAt) + TimeSpan.FromMilliseconds(1);
        _retryTimer.Change(due, Timeout.InfiniteTimeSpan);
    }

    private void OnRetryTime()
    {
        var work = default(PumpWork);
        lock (_lock)
        {
            // The timer's clock is coarser than the timestamps: it may still ring too early, and nobody else would come
            // back.
            var now = context.Now;
            if (now < _retryAt)
            {
                ArmTimer(now);
            }
            else
            {
                PumpLocked(ref work);
            }
        }

        work.Finish(context);
    }

    private void FailOverdue(long now, ref PumpWork work)
    {
        while (_window.Count > 0 && !_window[0].InFlight && _window[0].DeadlineAt <= now)
        {
            Fail(_window[0], ClientErrors.PublishTimedOut(Topic, _window[0], context.Options.PublishTimeout), ref work);
        }

        while (_ready.TryPeek(out var batch) && batch.DeadlineAt <= now)
        {
            _ready.Dequeue();
            work.Add(batch, ClientErrors.PublishTimedOut(Topic, batch, context.Options.PublishTimeout));
        }

        if (_open is { } open && open.DeadlineAt <= now)
        {
            _open = null;
            work.Add(open, ClientErrors.PublishTimedOut(Topic, open, context.Options.PublishTimeout));
        }
    }

    /// <summary>
    /// Gives up a batch that was sent. Its sequences are lost, so those behind it need new ones: see <see
    /// cref="Renew"/>.
    /// </summary>
    private void Fail(PublishBatch batch, BrokerClientException error, ref PumpWork work)
    {
        _window.Remove(batch);
        _renewing = true;
        work.Add(batch, error);
    }

    /// <summary>
    /// Begins a new epoch with sequence 0, as KIP-360 does, once nothing is under way. Batches that are surely not
    /// stored get new stamps. One that may be stored cannot: under a new stamp it could be stored twice. Stamps of the
    /// caller's own are not touched: the caller hears that something before was lost, and sends again from there.
    /// </summary>
    private void Renew(ref PumpWork work)
    {
        _renewing = false;
        _pipelining = false;
        if (!OwnsSequence)
        {
            FailAll(batch => ClientErrors.EarlierBatchFailed(Topic, batch), ref work);
            return;
        }

        _epoch++;
        _nextSequence = 0;
        foreach (var batch in _window.ToArray())
        {
            if (batch.Uncertain)
            {
                _window.Remove(batch);
                work.Add(batch, ClientErrors.EarlierBatchFailed(Topic, batch));
            }
            else
            {
                StampNext(batch);
            }
        }

        ClientLog.EpochRenewed(context.Logger, Topic, producerId, _epoch);
    }

    private void FailAll(Func<PublishBatch, BrokerClientException> error, ref PumpWork work)
    {
        var open = _open;
        _open = null;
        foreach (var batch in _window.Concat(_ready).ToArray())
        {
            if (batch.InFlight)
            {
                batch.Uncertain = true;
                Resolve(batch, batch.Correlation);
            }

            work.Add(batch, error(batch));
        }

        _window.Clear();
        _ready.Clear();
        if (open is not null)
        {
            work.Add(open, error(open));
        }
    }
}
