using System.Diagnostics;
using Broker.ServiceDefaults.Telemetry;
using Broker.Tests.Unit.Replication;
using OpenTelemetry.Trace;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class RequestSamplerTests
{
    private static readonly ActivityTraceId Trace = ActivityTraceId.CreateRandom();

    private readonly ManualTime _time = new();

    [Fact]
    public void Requests_begin_traces_up_to_so_many_a_second_and_what_a_service_does_by_itself_begins_none()
    {
        var sampler = new ParentBasedSampler(new RequestSampler(2, _time));

        Assert.Equal([true, true, false], Enumerable.Range(0, 3).Select(_ => Begins(sampler, ActivityKind.Server)));
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(Begins(sampler, ActivityKind.Client));
        Assert.False(Begins(sampler, ActivityKind.Internal));
        Assert.True(Begins(sampler, ActivityKind.Server));
    }

    [Fact]
    public void A_trace_that_a_caller_records_goes_on_where_none_begins()
    {
        var sampler = new ParentBasedSampler(new RequestSampler(0, _time));

        Assert.False(Begins(sampler, ActivityKind.Server));
        Assert.True(Begins(sampler, ActivityKind.Server, ActivityTraceFlags.Recorded));
        Assert.False(Begins(sampler, ActivityKind.Server, ActivityTraceFlags.None));
    }

    private static bool Begins(Sampler sampler, ActivityKind kind, ActivityTraceFlags? parent = null)
    {
        var context = parent is { } flags
            ? new ActivityContext(Trace, ActivitySpanId.CreateRandom(), flags, isRemote: true)
            : default;
        var parameters = new SamplingParameters(context, Trace, "name", kind, null, null);
        return sampler.ShouldSample(parameters).Decision == SamplingDecision.RecordAndSample;
    }
}
