namespace Broker.Tests.Demo;

/// <summary>One record of Debian's package index, and the topic that its section gives it.</summary>
public sealed record PackageRecord(string Topic, string Package, string Text);
