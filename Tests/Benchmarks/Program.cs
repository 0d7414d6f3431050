using System.CommandLine;
using Broker.Tests.Benchmarks;
using Broker.Tests.Benchmarks.Anchors;
using Broker.Tests.Benchmarks.Peer;
using Broker.Tests.Benchmarks.Soaks;

var root = new RootCommand("Measures the broker: a whole cluster by itself, or one load against running brokers.");
root.Subcommands.Add(ClusterVerb.Create());
root.Subcommands.Add(FreshVerb.Create());
root.Subcommands.Add(RestartVerb.Create());
root.Subcommands.Add(RetentionVerb.Create());
root.Subcommands.Add(CompactionVerb.Create());
root.Subcommands.Add(TopicsVerb.Create());
root.Subcommands.Add(ScaleVerb.Create());
root.Subcommands.Add(GrowVerb.Create());
root.Subcommands.Add(GroupVerb.Create());
root.Subcommands.Add(AbsentVerb.Create());
root.Subcommands.Add(FaultsVerb.Create());
root.Subcommands.Add(MemoryVerb.Create());
root.Subcommands.Add(SoakMember.Create());
root.Subcommands.Add(AnchorsVerb.Create());
root.Subcommands.Add(FailoverVerb.Create());
root.Subcommands.Add(MicroVerb.Create());
foreach (var verb in HeartVerb.Create())
{
    root.Subcommands.Add(verb);
}

foreach (var verb in LoadVerbs.Create())
{
    root.Subcommands.Add(verb);
}

foreach (var verb in GrpcVerb.Create())
{
    root.Subcommands.Add(verb);
}

foreach (var verb in PeerVerb.Create())
{
    root.Subcommands.Add(verb);
}

return await root.Parse(args).InvokeAsync();
